"use strict";
(() => {
  const study = JSON.parse(document.getElementById("study").textContent);
  const at = (id) => document.getElementById(id);
  const show = (id) => { for (const name of ["consent", "trials", "end"]) at(name).hidden = name !== id; };
  const COLUMNS = ["study", "rater", "trial", "left", "right", "choice", "ms"];
  const CHOICES = ["left", "right", "tie"];
  const KEYS = { ArrowLeft: 0, f: 0, F: 0, ArrowRight: 1, j: 1, J: 1, ArrowDown: 2, " ": 2 };
  let rater = "", votes = [], engine = null;

  // Votes so far, kept on the rater's machine: a page that is closed goes on where it was.
  const slot = () => `study-${study.id}-${rater}`;
  const load = () => { try { return JSON.parse(localStorage.getItem(slot())) || []; } catch { return []; } };
  const keep = () => { try { localStorage.setItem(slot(), JSON.stringify(votes)); } catch { /* the result is in memory still */ } };
  const csv = () => [COLUMNS, ...votes.map((vote) => COLUMNS.map((name) => vote[name]))].map((row) => row.join(",")).join("\n") + "\n";

  const imageTag = (name, text) => `<img src="img/${name}.webp" width="${study.size}" height="${study.size}" alt="${text}">`;

  function trialOf([photo, left, right], number) {
    const images = [[left, "left image"], [right, "right image"]];
    return {
      type: jsPsychHtmlButtonResponse,
      stimulus: `<figure>${imageTag(photo, "photo to compare with")}</figure>`,
      choices: study.rules.tie ? CHOICES : CHOICES.slice(0, 2),
      button_html: (choice, place) => place < 2
        ? `<button type="button" class="choice">${imageTag(...images[place])}<span>${choice}</span></button>`
        : `<button type="button" class="tie">can't tell</button>`,
      button_layout: "flex", // the style sheet places the buttons
      enable_button_after: study.rules.minimum_ms,
      on_start: () => { at("progress").textContent = `${number + 1} of ${study.trials[rater].length}`; },
      on_finish: (data) => {
        if (data.response === undefined || data.response === null) return; // stopped before an answer
        votes.push({ study: study.id, rater, trial: number, left, right, choice: CHOICES[data.response], ms: data.rt });
        keep();
      },
    };
  }

  function preload(names) {
    const loaded = names.map((name) => new Promise((done, failed) => {
      const image = new Image();
      image.onload = done;
      image.onerror = () => failed(new Error(`the image ${name} is missing`));
      image.src = `img/${name}.webp`;
    }));
    return Promise.all(loaded);
  }

  async function begin(event) {
    event.preventDefault();
    rater = at("rater").value.trim().toLowerCase();
    if (!Object.hasOwn(study.trials, rater)) { at("problem").textContent = "This study does not know that rater code."; return; }
    at("start").disabled = true;
    at("problem").textContent = "The images are being loaded.";
    const trials = study.trials[rater];
    try {
      await preload([...new Set(trials.flat())]);
    } catch (error) {
      at("problem").textContent = `The study cannot begin: ${error.message}.`;
      at("start").disabled = false;
      return;
    }
    votes = load();
    const rest = trials.map(trialOf).slice(votes.length);
    if (!rest.length) { finish(); return; }
    show("trials");
    engine = initJsPsych({ display_element: "stage", on_finish: finish, override_safe_mode: true });
    engine.run(rest);
  }

  function finish() {
    show("end");
    const blob = new Blob([csv()], { type: "text/csv" });
    at("download").href = URL.createObjectURL(blob);
    at("download").download = `votes-${study.id}-${rater}.csv`;
    at("sent").textContent = "Save the result and give the file to whoever asked you.";
    if (study.post) send();
  }

  async function send() {
    at("sent").textContent = "The result is being sent.";
    try {
      const answer = await fetch(study.post, { method: "POST", headers: { "Content-Type": "text/csv" }, body: csv() });
      if (!answer.ok) throw new Error(String(answer.status));
      at("sent").textContent = "The result was sent. You may also save a copy.";
    } catch {
      at("sent").textContent = "The result could not be sent. Save it and give the file to whoever asked you.";
    }
  }

  document.addEventListener("keydown", (event) => {
    if (at("trials").hidden || event.repeat || event.ctrlKey || event.altKey || event.metaKey || !(event.key in KEYS)) return;
    if (event.key === " " && event.target.tagName === "BUTTON") return;
    const button = document.querySelector(`#stage [data-choice="${KEYS[event.key]}"]:not(:disabled)`);
    if (button) { event.preventDefault(); button.click(); }
  });

  document.querySelector("h1").textContent = study.title;
  at("question").textContent = study.question;
  at("keys").textContent = `Keys: arrow left or F, arrow right or J${study.rules.tie ? ", arrow down if you can't tell" : ""}.`;
  at("where").textContent = study.post
    ? `At the end the result is sent to ${new URL(study.post).host}.`
    : "Nothing is sent. At the end you save the result as a file and give it to whoever asked you.";
  for (const [id, label] of [["approval", "Ethics approval"], ["contact", "Contact"]]) {
    if (study[id]) { at(id).textContent = `${label}: ${study[id]}`; at(id).hidden = false; }
  }
  at("rater").value = new URLSearchParams(location.search).get("rater") || "";
  at("consent").addEventListener("submit", begin);
  at("stop").addEventListener("click", () => engine.abortExperiment());
})();
