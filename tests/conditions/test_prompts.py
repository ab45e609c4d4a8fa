"""The lists of prompts that we ship."""

import pytest

from bench import resources
from bench.errors import UserError
from bench.names import fit_for_a_path
from tests.e2e.commands import composed

LISTS = sorted(path.stem for path in (resources.folder("conf") / "prompts").glob("*.yaml"))


@pytest.mark.parametrize("name", LISTS)
def test_a_list_names_its_prompts_and_keeps_the_one_of_the_default_run(name):
    plain, listed = composed().protocol, composed(f"prompts={name}").protocol
    assert listed.prompts[plain.prompt_id] == plain.prompt
    assert len(set(listed.prompts.values())) == len(listed.prompts) > 2
    assert [fit_for_a_path(one) for one in listed.prompts] == list(listed.prompts)


def test_there_are_lists():
    assert LISTS == ["attributes", "scenes"]


@pytest.mark.parametrize("given", ["+protocol.prompts={../x: hello}", "protocol.prompt_id=a/b"])
def test_an_id_that_cannot_be_a_folder_is_refused(given):
    with pytest.raises(UserError, match="it names a folder"):
        composed(given)
