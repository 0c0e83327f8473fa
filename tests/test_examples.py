"""The example in README.md works as pasted, with the photo that is in the clone."""

import json
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest
from PIL import Image

from tests.support.service import Service

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_the_upload_in_the_readme_returns_what_the_readme_shows(service: Service) -> None:
    pasted = re.findall(r"^\$ (curl .*/recipe)$", README, re.MULTILINE)[0]
    shown = json.loads(re.findall(r"^```json\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)[0])
    command = shlex.split(pasted.replace("http://127.0.0.1:8000", service.url))
    answer = json.loads(subprocess.run([*command, "--silent"], cwd=ROOT, capture_output=True, check=True).stdout)
    same = ("label", "content_type", "size", "etag", "original_name")
    assert answer.keys() == shown.keys()
    assert {name: answer[name] for name in same} == {name: shown[name] for name in same}


def test_the_photo_is_small_and_has_no_metadata() -> None:
    photo = ROOT / "examples/coffee.jpg"
    assert photo.stat().st_size < 60_000
    with Image.open(photo) as opened:
        assert dict(opened.getexif()) == {}
        assert opened.info.keys() == {"jfif", "jfif_version", "jfif_unit", "jfif_density"}
