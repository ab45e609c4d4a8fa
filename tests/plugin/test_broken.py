"""A package that is broken is named in one line and the others go on; a name that is taken is refused."""

import sys

import pytest

from bench import registry, resources
from bench.__main__ import main
from bench.cli import doctor
from bench.errors import UserError
from tests.plugin.packages import on_path, write_package

BROKEN = "[bench.methods]\nhalf = broken_one:Half\n[bench.metrics]\nhalf = broken_one:METRIC\n"
LINE = (
    "metric 'half' (broken_one:METRIC of broken-one 1.0) cannot be imported: ImportError: no module of mine; "
    "update the package, or take it away: python -m pip uninstall broken-one"
)


@pytest.fixture
def site(tmp_path):
    return tmp_path / "site"


@pytest.fixture
def broken(site):
    site.mkdir()
    write_package(site, "broken-one", BROKEN, "raise ImportError('no module\\nof mine')\n")
    with on_path(site, "broken_one"):
        yield site


def test_it_is_named_once_and_the_others_go_on(broken, capsys):
    metrics = registry.parts("metrics")
    assert set(metrics) == set(registry.BUILT_IN["metrics"])
    assert registry.parts("metrics") == metrics
    assert capsys.readouterr().err.splitlines() == [f"warning: {LINE}"]


def test_whoever_asks_for_it_gets_the_line(broken, capsys):
    with pytest.raises(UserError) as caught:
        registry.get("metrics", "half")
    assert str(caught.value) == LINE
    assert main(["ls", "metrics"]) == 0
    assert "broken-one 1.0" in capsys.readouterr().out
    assert "broken_one" not in sys.modules


def test_the_other_methods_are_configured_as_before(broken, capfd):
    from bench.cli.run import known_keys

    assert "method.steps" in known_keys()
    assert "method 'half'" in capfd.readouterr().err


def test_doctor_says_what_to_do(broken):
    [found] = list(doctor.added())
    assert (found.name, found.ok) == ("broken-one 1.0", False)
    assert LINE in found.detail
    assert found.fix == "update it, or python -m pip uninstall broken-one"


def test_doctor_knows_a_misspelled_group(site):
    site.mkdir()
    write_package(site, "odd-one", "[bench.metrcs]\nmine = odd_one:METRIC\n")
    with on_path(site, "odd_one"):
        [found] = list(doctor.added())
    assert "unknown group of entry points 'bench.metrcs'; did you mean 'bench.metrics'?" in found.detail


@pytest.mark.parametrize(
    ("name", "owner"), [("copy", "baselines.controls:Copy of idbench"), ("mine", "one:M of one 1.0")]
)
def test_a_name_that_is_taken_is_refused(site, name, owner, capsys):
    site.mkdir()
    write_package(site, "one", "[bench.methods]\nmine = one:M\n")
    write_package(site, "two", f"[bench.methods]\n{name} = two:M\n")
    with on_path(site, "one", "two"):
        assert main(["ls", "methods"]) == 2
    [told] = capsys.readouterr().err.splitlines()
    assert told.startswith(f"error: method {name!r} is registered twice: ")
    assert owner in told
    assert "two:M of two 1.0" in told
    assert "python -m pip uninstall" in told


def test_a_folder_of_configuration_that_is_not_there(site, capsys):
    site.mkdir()
    write_package(site, "one", "[bench.conf]\none = one:conf\n")
    with on_path(site, "one"):
        assert resources.conf_folders() == [resources.folder("conf")]
        assert resources.conf_folders() == [resources.folder("conf")]
    [told] = capsys.readouterr().err.splitlines()
    assert told.startswith("warning: one names 'one:conf' as its folder of configuration, and there is none;")


def test_a_configuration_whose_name_is_taken(site):
    (site / "two" / "conf" / "method").mkdir(parents=True)
    (site / "two" / "__init__.py").write_text("")
    (site / "two" / "conf" / "method" / "copy.yaml").write_text("name: copy\n")
    write_package(site, "one", "[bench.conf]\ntwo = two:conf\n")
    with on_path(site, "one", "two"), pytest.raises(UserError, match=r"method/copy\.yaml have the same name"):
        resources.configurations("method")
