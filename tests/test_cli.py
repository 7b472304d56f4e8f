"""The command line."""

import pytest

import cconv
from cconv.cli import main


def test_config(capsys):
    assert main(["config"]) == 0
    assert cconv.__version__ in capsys.readouterr().out


def test_evaluate(tmp_path, capsys, mnist_dir):
    cconv.SimpleConvNet(seed=0).save_params(tmp_path / "params")
    assert main(["evaluate", str(tmp_path / "params"), "--data-dir", str(mnist_dir)]) == 0
    assert capsys.readouterr().out.startswith("accuracy on 10,000 test images: 0.")


def test_errors_are_one_line_and_status_1(tmp_path, capsys):
    with pytest.raises(SystemExit) as stop:
        main(["evaluate", str(tmp_path / "missing")])
    assert stop.value.code == 1
    assert "missing" in capsys.readouterr().err
    with pytest.raises(SystemExit) as stop:
        main(["fly"])
    assert stop.value.code == 2
