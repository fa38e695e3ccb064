"""Encryption of what people wrote, by a user's cipher: nothing readable stands in the server."""

import base64
import binascii

from ted_memory.errors import CorruptData, reason_of
from ted_memory.protocols import Cipher

_MARK = "~"  # JSON and hexadecimal numbers begin with none


class Seal:
    """Closes texts and data before they are stored, and opens them again.

    Without a cipher it leaves them as they are. What was stored before there was a cipher is read
    as it is. A key is changed by a cipher that knows the old one by its name.
    """

    def __init__(self, cipher: Cipher | None = None) -> None:
        self._cipher = cipher

    def close(self, text: str) -> str:
        """Make of a text what is stored."""
        return text if self._cipher is None else _closed(self._cipher, text.encode())

    def close_data(self, data: bytes) -> str:
        """Make of data what is stored."""
        return data.hex() if self._cipher is None else _closed(self._cipher, data)

    def open(self, stored: str) -> str:
        """Read a stored text.

        Raises:
            CorruptData: it is encrypted, and the cipher is missing or cannot read it.
        """
        return self._opened(stored).decode() if stored.startswith(_MARK) else stored

    def open_data(self, stored: str) -> bytes:
        """Read stored data. Raises CorruptData as `open` does."""
        return self._opened(stored) if stored.startswith(_MARK) else bytes.fromhex(stored)

    def _opened(self, stored: str) -> bytes:
        _, name, encoded = stored.split(_MARK, 2) if stored.count(_MARK) >= 2 else ("", "", "")
        if self._cipher is None:
            raise CorruptData(
                f"a record is encrypted (cipher {name!r}), and this memory has none: it cannot be "
                "read. Open it with the cipher that wrote it, open_memory(cipher=...)"
            )
        try:
            return self._cipher.decrypt(name, base64.b64decode(encoded, validate=True))
        except binascii.Error as error:
            raise CorruptData(
                f"an encrypted record is damaged and cannot be read ({error})"
            ) from error
        except Exception as error:  # whatever a user's cipher raises
            raise CorruptData(
                f"an encrypted record cannot be read: the cipher refuses it ({reason_of(error)}). "
                "Is it the "
                "key that wrote it?"
            ) from error


def _closed(cipher: Cipher, data: bytes) -> str:
    name, ciphertext = cipher.encrypt(data)
    return f"{_MARK}{name}{_MARK}{base64.b64encode(ciphertext).decode()}"
