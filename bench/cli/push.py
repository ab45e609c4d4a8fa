"""The verb `push`; nothing heavy is imported before the arguments are understood."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from bench.console import show, verb_parser
from bench.errors import UserError


def main(argv: Sequence[str]) -> int:
    """Sends the bundle of a run, as `export` writes it, to a dataset repository on the Hugging Face Hub.

    It has numbers and no people. Nothing is sent without a token (HF_TOKEN, or `hf auth login`) and without --yes. The
    repository must exist.
    """
    parser = verb_parser("push", main)
    parser.add_argument("run", type=Path, metavar="RUN", help="folder of a run")
    parser.add_argument("--repo", required=True, metavar="ORG/NAME", help="dataset repository")
    parser.add_argument("--pull-request", action="store_true", help="open a pull request and change nothing else")
    parser.add_argument("--yes", action="store_true", help="send it")
    options = parser.parse_args(argv)

    from huggingface_hub import get_token

    from bench.exchange.export import bundle
    from bench.report.frames import load_run

    run = load_run(options.run)
    name = f"{run.folder.resolve().name}.zip"
    if not options.yes:
        raise UserError(f"nothing was sent: {name} would go to the dataset {options.repo}; add --yes to send it")
    if not get_token():
        raise UserError("nothing was sent: the Hub needs a token; set HF_TOKEN, or log in with `hf auth login`")
    show(_sent(bundle(run), name, options.repo, pull_request=options.pull_request))
    return 0


def _sent(data: bytes, name: str, repository: str, *, pull_request: bool) -> str:
    """Send a file to a dataset repository of the Hub and return the address of the commit or the pull request.

    Raises:
        UserError: the Hub cannot be reached, refuses it, or the repository's name is not one.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    try:
        sent = HfApi().upload_file(
            path_or_fileobj=data, path_in_repo=name, repo_id=repository, repo_type="dataset",
            commit_message=f"Add {name}", create_pr=pull_request,
        )  # fmt: skip
    except (HfHubHTTPError, HFValidationError, OSError) as error:
        reason = " ".join(str(error).split())
        raise UserError(f"nothing was sent to the dataset {repository}: {reason}") from error
    return str(sent.pr_url or sent.commit_url)
