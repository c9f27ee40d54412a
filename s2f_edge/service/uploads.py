"""Forms with files, read into memory and never onto a disk, and refused as soon as they are too large."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from pydantic import BaseModel, ValidationError
from python_multipart.multipart import parse_options_header
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect, Request

from s2f_edge.errors import InvalidRequestError, TooLargeError

MAX_FIELDS = 20
MAX_FIELD_BYTES = 4096
FORM_BYTES = 64 << 10  # what a form may have around its files

Fields = TypeVar("Fields", bound=BaseModel)


class _InMemory(MultiPartParser):
    """Sound is a file by its type, or by its field where there can be one, whether or not the part has a file name."""

    spool_max_size = 1 << 62  # never rolled over to a temporary file
    file_field = ""

    def on_headers_finished(self) -> None:
        _, options = parse_options_header(self._current_part.content_disposition)
        kind = dict(self._current_part.item_headers).get(b"content-type", b"")
        sound = kind.startswith((b"audio/", b"video/", b"application/octet-stream"))
        named = options.get(b"name", b"").decode("latin-1") == self.file_field and self.max_files == 1
        if b"name" in options and b"filename" not in options and (sound or named or b"filename*" in options):
            given = self._current_part.content_disposition or b""
            self._current_part.content_disposition = given + b"; filename=sound"
        super().on_headers_finished()


@dataclass(frozen=True)
class Form(Generic[Fields]):
    """A form: the contents of its files, without their names, and its checked fields."""

    files: list[bytes]
    fields: Fields

    @property
    def file(self) -> bytes:
        return self.files[0]


async def read_form(
    request: Request, fields: type[Fields], max_bytes: int, file_field: str = "file", max_files: int = 1
) -> Form[Fields]:
    """Reads the form of a request.

    Args:
        request: multipart/form-data.
        fields: what may stand in it beside files.
        max_bytes: of the whole form, but for 64 kB.
        file_field: in which the files are.
        max_files: how many there may be.

    Raises:
        TooLargeError: it has more bytes, or says that it will have.
        InvalidRequestError: no such form, a field too many or too few, or a wrong value.
    """
    most = max_bytes + FORM_BYTES
    if not request.headers.get("content-type", "").lower().startswith("multipart/form-data"):
        raise InvalidRequestError(f"Send multipart/form-data with the field `{file_field}`.")
    declared = request.headers.get("content-length", "")
    if declared.isdigit() and int(declared) > most:
        raise _too_large(max_bytes)
    parser = _InMemory(
        request.headers, _limited(request, most, max_bytes), max_files=max_files, max_fields=MAX_FIELDS,
        max_part_size=MAX_FIELD_BYTES,
    )  # fmt: skip
    parser.file_field = file_field
    try:
        form = await parser.parse()
    except (MultiPartException, KeyError, ValueError) as error:
        if isinstance(error, TooLargeError):
            raise
        raise InvalidRequestError(f"The form cannot be read: {error} Send multipart/form-data.") from None
    except ClientDisconnect:
        raise InvalidRequestError("The upload broke off.") from None
    return _sorted_out(form.multi_items(), fields, file_field)


def _sorted_out(items: list[tuple[str, Any]], fields: type[Fields], file_field: str) -> Form[Fields]:
    files: list[bytes] = []
    texts: dict[str, str] = {}
    uploads = [name for name, value in items if isinstance(value, UploadFile)]
    # One file under another name, and nothing under the right one: it is plain what is meant.
    meant = uploads[0] if len(uploads) == 1 and file_field not in dict(items) else file_field
    for name, value in items:
        if name == meant and isinstance(value, UploadFile):
            files.append(value.file.read())
            value.file.close()
        elif isinstance(value, UploadFile):
            raise InvalidRequestError(f"The file under `{name[:40]}` is one too many; files go under `{file_field}`.")
        elif name in texts:
            raise InvalidRequestError(f"`{name[:40]}` is given twice.")
        else:
            texts[name] = value
    if not files:
        raise InvalidRequestError(f"The field `{file_field}` is missing; it must be a file.")
    try:
        return Form(files, fields.model_validate(texts))
    except ValidationError as error:
        raise InvalidRequestError(described(error)) from None


def described(error: ValidationError) -> str:
    """What pydantic found, in a sentence, without what was sent."""
    first = error.errors(include_url=False, include_input=False, include_context=False)[0]
    where = ".".join(str(part)[:40] for part in first["loc"]) or "the message"
    return f"`{where}`: {first['msg']}."


async def _limited(request: Request, most: int, limit: int) -> AsyncGenerator[bytes, None]:
    read = 0
    async for chunk in request.stream():
        read += len(chunk)
        if read > most:
            raise _too_large(limit)
        yield chunk


def _too_large(most: int) -> TooLargeError:
    return TooLargeError(f"The upload has more than {most} bytes; send a shorter recording, or a compressed one.")
