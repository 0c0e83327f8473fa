"""What exiv2, another independent reader of metadata, finds in filtered photos."""

import io
import shutil
import subprocess
from pathlib import Path

import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from tests.support.samples import sample, without_metadata

XMP = b"""<x:xmpmeta xmlns:x='adobe:ns:meta/'><rdf:RDF xmlns:rdf='http://www.w3.org/1999/02/22-rdf-syntax-ns#'>
<rdf:Description rdf:about='' xmlns:dc='http://purl.org/dc/elements/1.1/' dc:format='secret'/></rdf:RDF></x:xmpmeta>"""


def laden(file_type: str) -> bytes:
    """Return a photo with a position, a camera and XMP."""
    file = io.BytesIO()
    image = Image.open(io.BytesIO(sample("exif_gps.jpg")))
    text = PngInfo()
    text.add_itxt("XML:com.adobe.xmp", XMP.decode())  # where PNG has XMP; the other types ignore it
    image.save(file, file_type, exif=image.getexif().tobytes(), xmp=XMP, pnginfo=text)
    return file.getvalue()


def keys_found(photo: bytes, path: Path) -> set[str]:
    """Return the keys of the Exif, IPTC and XMP metadata in a photo."""
    path.write_bytes(photo)
    command = ["exiv2", "-q", "-PEXIk", str(path)]
    listed = subprocess.run(command, capture_output=True, text=True, check=False)
    assert listed.returncode in {0, 253}, listed.stderr  # 253: there is none
    return set(listed.stdout.split())


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("exiv2") is None, reason="exiv2 is not installed (Debian: exiv2)")
@pytest.mark.parametrize("file_type", ["JPEG", "PNG", "WEBP"])
def test_exiv2_finds_at_most_the_orientation(file_type: str, tmp_path: Path) -> None:
    photo = laden(file_type)
    assert {"Exif.Image.Model", "Exif.Image.GPSTag", "Xmp.dc.format"} <= keys_found(photo, tmp_path / "sent")

    assert keys_found(without_metadata(photo), tmp_path / "stored") <= {"Exif.Image.Orientation"}
