"""Serve models on 127.0.0.1 as an OpenAI-compatible API: one child process for each, with xllamacpp.

Run as a script, this file is that child process. It ends when its standard input does: so it never outlives the
process that started it, however that one dies.
"""

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import IO

START_TIMEOUT = 120.0  # seconds


class ServeError(Exception):
    """A model's server does not come up; the message says why and what to do."""
