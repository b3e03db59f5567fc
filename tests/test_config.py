from pathlib import Path

import pytest

from ruma.config import explain_settings, load_settings
from ruma.errors import InputError


def test_each_place_overrides_the_one_before(tmp_path: Path) -> None:
    """Default, file, environment and flag: the later one wins, and the origin says which it was."""
    (tmp_path / "ruma.toml").write_text("port = 9001\nthreads = 1\nhost = '127.0.0.2'\n")
    environ = {"RUMA_HOME": str(tmp_path), "RUMA_PORT": "9002", "RUMA_HOST": "127.0.0.3"}

    settings = load_settings({"host": "127.0.0.4"}, environ)

    assert (settings.threads, settings.port, settings.host, settings.max_file_mb) == (1, 9002, "127.0.0.4", 200)
    origins = {one.name: one.source for one in explain_settings({"host": "127.0.0.4"}, environ)}
    assert origins["threads"] == str(tmp_path / "ruma.toml")
    assert (origins["port"], origins["host"], origins["max_file_mb"]) == ("RUMA_PORT", "flag", "default")


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("port = 'many'", "port must be a whole number"),
        ("port = 70000", "port cannot be 70000"),
        ("colour = 'red'", "unknown setting: colour"),
        ("key_source = 'post-it'", "key_source cannot be 'post-it'"),
        ("port = ", "cannot be read as TOML"),
    ],
)
def test_a_wrong_setting_is_named(tmp_path: Path, text: str, sentence: str) -> None:
    """A setting that cannot be used gives a sentence that names it, and never a default in its place."""
    (tmp_path / "ruma.toml").write_text(text)

    with pytest.raises(InputError, match=sentence):
        load_settings({"home": tmp_path}, {})


def test_everything_lies_in_the_home(tmp_path: Path) -> None:
    """One variable moves tenants, keys and models."""
    settings = load_settings(None, {"RUMA_HOME": str(tmp_path / "elsewhere")})

    folders = (settings.tenants_folder, settings.keys_folder, settings.models_folder)
    assert all(folder.parent == tmp_path / "elsewhere" for folder in folders)


def test_a_model_gets_every_core_unless_told(tmp_path: Path) -> None:
    """Zero threads means one for each core that this process may use."""
    assert load_settings({"home": tmp_path}, {}).thread_count >= 1
    assert load_settings({"home": tmp_path, "threads": 3}, {}).thread_count == 3
