"""Forms as real clients write them, including odd ones: what is stored, or why they are rejected. Over real sockets."""

from base64 import b64encode, urlsafe_b64encode
from email import policy
from email.mime.application import MIMEApplication
from email.mime.multipart import MIMEMultipart
from email.mime.text import MIMEText

import pytest

from recipe_api.units import KIB
from tests.support.forms import BOUNDARY, END, HEADER, Part, file_part, form, jpeg, recipe_form, text_part
from tests.support.problems import assert_problem
from tests.support.recipes import assert_stored
from tests.support.samples import sample, without_metadata
from tests.support.service import Service
from tests.support.traces import Backstage
from tests.support.wire import Response, request

PHOTO = jpeg(700)
LABEL = text_part("Soup")
FILE = file_part(PHOTO, filename="soup.jpg")


def send(service: Service, body: bytes) -> Response:
    with service.connect() as wire:
        wire.send(request("/recipe", body, HEADER))
        return wire.read()


@pytest.mark.parametrize(
    ("headers", "value", "label"),
    [
        (b"\r\nContent-Transfer-Encoding: base64", b"Q3LDqnBlcw==", "Crêpes"),
        (b"\r\nContent-Transfer-Encoding: quoted-printable", b"Cr=C3=AApes", "Crêpes"),
        (b"\r\nContent-Transfer-Encoding: 8bit", "Crêpes".encode(), "Crêpes"),
        (b"\r\nContent-Type: text/plain; charset=iso-2022-jp", b"\x1b$BL#A9=A\x1b(B", "味噌汁"),
        (b"\r\nContent-Type: text/plain; charset=ISO-8859-1", b"Cr\xeapes", "Crêpes"),  # Apache HttpClient
        (b"\r\nContent-Type: text/plain; charset=windows-1252", b"2 \x80", "2 €"),
        (
            b"\r\nContent-Type: text/plain; charset=utf-16\r\nContent-Transfer-Encoding: base64",
            b64encode("Crêpes".encode("utf-16")),
            "Crêpes",
        ),
    ],
)
@pytest.mark.parametrize("label_first", [True, False], ids=["label first", "photo first"])
def test_a_label_is_decoded_as_its_part_declares(
    service: Service, backstage: Backstage, headers: bytes, value: bytes, label: str, *, label_first: bool
) -> None:
    parts = [Part(header=b'; name="label"' + headers, data=value), FILE]

    response = send(service, form(*(parts if label_first else parts[::-1])))

    assert response.status == 201, response.body
    assert response.json()["label"] == label
    assert_stored(response.json(), PHOTO, backstage, name="soup.jpg")


@pytest.mark.parametrize(
    ("headers", "value", "named"),
    [
        (b"\r\nContent-Transfer-Encoding: x-uuencode", b"x", "Content-Transfer-Encoding x-uuencode"),
        (b"\r\nContent-Transfer-Encoding: base64", b"Soup!", "Content-Transfer-Encoding"),
        (b"\r\nContent-Type: text/plain; charset=zlib", b"x", "charset zlib in its Content-Type"),
        (b"\r\nContent-Type: text/plain; charset=us-ascii", b"Cr\xeapes", "US-ASCII, the charset in its Content-Type"),
    ],
)
def test_a_label_that_cannot_be_decoded_is_rejected_and_its_header_named(
    service: Service, backstage: Backstage, headers: bytes, value: bytes, named: str
) -> None:
    response = send(service, form(Part(header=b'; name="label"' + headers, data=value), FILE))

    assert named in assert_problem(response, 422, "invalid-text", field="label")["detail"]
    assert backstage.nothing_is_left()


@pytest.mark.parametrize(
    ("parameters", "name"),
    [
        (b"filename=\"=?utf-8?B?U8O8cHBlLmpwZw==?=\"; filename*=utf-8''S%C3%BCppe.jpg", "Süppe.jpg"),  # .NET
        (b'filename="=?utf-8?B?U8O8cHBlLmpwZw==?="', "Süppe.jpg"),
        (b'filename="soup.jpg" "\r\nContent-Transfer-Encoding: binary\r\nContent-Length: 700', "soup.jpg"),  # Retrofit
        (b'filename="caf\xe9.jpg"', "café.jpg"),
        (b'filename="a\0.jpg"', "a.jpg"),
        (b"filename*=klingon''a.jpg", "a.jpg"),
        (b'filename="first.jpg"; filename="second.jpg"', "first.jpg"),
        (b'\r\n filename="folded.jpg"', "folded.jpg"),
        (b"filename*0*=utf-8''S%C3%BC;\r\n filename*1*=ppe.jpg", "Süppe.jpg"),  # Python's email
    ],
)
def test_a_file_name_is_stored_as_the_client_meant_it(
    service: Service, backstage: Backstage, parameters: bytes, name: str
) -> None:
    response = send(service, form(LABEL, Part(header=b'; name="photo"; ' + parameters, data=PHOTO)))

    assert response.status == 201, response.body
    assert_stored(response.json(), PHOTO, backstage, name=name)


@pytest.mark.parametrize("content_type", [b"image/*", b"image/jpeg", b"application/octet-stream"])
def test_a_photo_with_a_media_type_needs_no_file_name(
    service: Service, backstage: Backstage, content_type: bytes
) -> None:
    photo = Part(header=b'; name="photo"\r\nContent-Type: ' + content_type, data=PHOTO)

    response = send(service, form(LABEL, photo))

    assert response.status == 201, response.body
    assert_stored(response.json(), PHOTO, backstage, name="photo.jpg")


@pytest.mark.parametrize(
    "preamble",
    [b"This is a message with multiple parts in MIME format.\r\n", b"\r\n\r\n", b"x" * (16 * KIB - 1) + b"\r\n"],
)
def test_a_preamble_is_ignored(service: Service, backstage: Backstage, preamble: bytes) -> None:
    response = send(service, preamble + recipe_form(PHOTO, label="Soup"))

    assert response.status == 201, response.body
    assert response.json()["label"] == "Soup"
    assert_stored(response.json(), PHOTO, backstage)


def test_a_form_written_by_pythons_email_library_is_stored(service: Service, backstage: Backstage) -> None:
    message = MIMEMultipart("form-data", boundary=BOUNDARY.decode(), policy=policy.HTTP)
    message.preamble = "This is a message with multiple parts in MIME format."
    label = MIMEText("Crêpes", policy=policy.HTTP)
    label.add_header("Content-Disposition", "form-data", name="label")
    photo = MIMEApplication(PHOTO.replace(b"\r", b"").replace(b"\n", b""), _encoder=lambda _: None, policy=policy.HTTP)
    photo.add_header("Content-Disposition", "form-data", name="photo", filename="Süppe " * 9 + ".jpg")
    for part in (label, photo):
        message.attach(part)
    body = message.as_bytes().partition(b"\r\n\r\n")[2]

    response = send(service, body)

    assert response.status == 201, response.body
    assert response.json()["label"] == "Crêpes"
    assert response.json()["original_name"] == "Süppe " * 9 + ".jpg"
    assert len(backstage.objects()) == 1


@pytest.mark.parametrize(
    ("name", "brands", "kind"),
    [
        ("hopper.avif", b"miaf\0\0\0\0avifmif1miafMA1B", "image/avif"),
        ("hopper.heif", b"mif2\0\0\0\0mif1heicmif2", "image/heic"),
    ],
)
def test_the_type_of_a_photo_follows_from_its_compatible_brands(
    service: Service, backstage: Backstage, name: str, brands: bytes, kind: str
) -> None:
    original = sample(name)
    photo = original[:8] + brands + original[8 + len(brands) :]

    response = send(service, form(LABEL, file_part(photo, filename="p.jpg")))

    assert response.status == 201, response.body
    assert response.json()["content_type"] == kind
    assert_stored(response.json(), without_metadata(photo), backstage, name="p.jpg")


@pytest.mark.parametrize(
    ("body", "cause"),
    [
        (recipe_form(PHOTO.replace(b"\r\n", b"")).replace(b"\r\n", b"\n"), "its lines end in LF;"),
        (
            form(LABEL, FILE).replace(b"form-data", b"attachment"),
            "Content-Disposition: attachment instead of form-data",
        ),
        (
            form(LABEL)[: -len(END)]
            + form(FILE).replace(b"\r\nContent-Type", b"\r\nX-%d: y" * 8 % (*range(8),) + b"\r\nA", 1),
            "more than 8 headers",
        ),
        (
            b"--another\r\n" + recipe_form(PHOTO)[len(BOUNDARY) + 4 :].replace(BOUNDARY, b"another"),
            "does not begin with the",
        ),
        (b"", "ends before the closing boundary"),
    ],
    ids=["LF", "attachment", "9 headers", "boundary", "empty"],
)
def test_a_malformed_form_is_rejected_and_the_cause_named(
    service: Service, backstage: Backstage, body: bytes, cause: str
) -> None:
    response = send(service, body)

    assert cause in assert_problem(response, 400, "malformed-body")["detail"]
    assert backstage.nothing_is_left()


@pytest.mark.parametrize(
    ("photo", "cause"),
    [
        (b64encode(PHOTO), "base64 text"),
        (b'"' + b64encode(PHOTO) + b'"', "base64 text"),
        (urlsafe_b64encode(PHOTO), "base64 text"),
        (b"data:image/jpeg;base64," + b64encode(PHOTO), "a data: URL"),
        (b"Pancakes, as my grandmother made them.", "match no accepted type"),
        (b"II*\0" + bytes(20), "image/tiff, which is not accepted"),
    ],
    ids=["base64", "JSON", "URL-safe", "data URL", "text", "TIFF"],
)
def test_a_file_that_is_not_a_photo_is_rejected_and_the_cause_named(
    service: Service, backstage: Backstage, photo: bytes, cause: str
) -> None:
    response = send(service, form(LABEL, file_part(photo)))

    assert cause in assert_problem(response, 415, "unsupported-photo", field="photo")["detail"]
    assert backstage.nothing_is_left()


def test_a_photo_declared_as_base64_is_rejected_and_its_header_named(service: Service, backstage: Backstage) -> None:
    header = b'; name="photo"; filename="soup.jpg"\r\nContent-Transfer-Encoding: base64'

    response = send(service, form(LABEL, Part(header=header, data=b64encode(PHOTO))))

    detail = assert_problem(response, 415, "unsupported-photo", field="photo")["detail"]
    assert "Content-Transfer-Encoding: base64" in detail
    assert backstage.nothing_is_left()
