"""What encrypts what people wrote, where a user gives it: ``open_memory(cipher=...)``."""

from typing import Protocol

__all__ = ["Cipher"]


class Cipher(Protocol):
    """What encrypts: the protocol of LangGraph's encrypting serializers.

    There it is `langgraph.checkpoint.serde.base.CipherProtocol`.
    """

    def encrypt(self, plaintext: bytes) -> tuple[str, bytes]:
        """Give the cipher's name and the ciphertext."""
        ...

    def decrypt(self, ciphername: str, ciphertext: bytes) -> bytes:
        """Give the plaintext."""
        ...
