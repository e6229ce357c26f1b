# SPDX-License-Identifier: Apache-2.0
"""How a media file is encoded, told by its first bytes: what is sent as raw samples must not be anything else."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

#: Where a file has these bytes, it is of that kind.
_MARKS: Final = (
    (0, b"RIFF", "RIFF"),
    (0, b"RF64", "RF64"),
    (0, b"BW64", "RF64"),
    (0, b"RIFX", "RIFX"),
    (0, b"riff\x2e\x91\xcf\x11", "Wave64"),
    (0, b"FORM", "AIFF"),
    (0, b".snd", "AU"),
    (0, b"dns.", "AU"),
    (0, b"caff", "CAF"),
    (0, b"OggS", "Ogg"),
    (0, b"fLaC", "FLAC"),
    (0, b"ID3", "MP3"),
    (0, b"APETAGEX", "MP3"),
    (0, b"\x1aE\xdf\xa3", "Matroska or WebM"),
    (0, b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", "ASF"),
    (0, b"#!AMR", "AMR"),
    (0, b"#!SILK", "SILK"),
    (1, b"#!SILK", "SILK"),
    (0, b"wvpk", "WavPack"),
    (0, b"MAC ", "Monkey's Audio"),
    (0, b"TTA1", "True Audio"),
    (0, b"NIST_1A", "SPHERE"),
    (0, b"Creative Voice File", "VOC"),
    (0, b"FLV\x01", "FLV"),
    (0, b".RMF", "RealMedia"),
    (0, b"\x00\x00\x01\xba", "MPEG"),
    *((4, name, "MP4 or QuickTime") for name in (b"ftyp", b"moov", b"mdat", b"wide")),
    (0, b"\x1f\x8b\x08", "gzip"),
    (0, b"PK\x03\x04", "zip"),
)
#: How names of files with encoded sound end. What ends so holds no raw samples.
SUFFIXES: Final = frozenset(
    (
        *(".3g2", ".3gp", ".aac", ".ac3", ".adts", ".aif", ".aifc", ".aiff", ".amr", ".ape", ".asf"),
        *(".au", ".avi", ".awb", ".bwf", ".caf", ".dts", ".eac3", ".f4a", ".flac", ".flv", ".gsm"),
        *(".m2ts", ".m4a", ".m4b", ".m4p", ".m4r", ".m4v", ".mka", ".mkv", ".mov", ".mp1", ".mp2"),
        *(".mp3", ".mp4", ".mpa", ".mpeg", ".mpg", ".mpga", ".mts", ".oga", ".ogg", ".ogv", ".opus"),
        *(".qt", ".ra", ".rf64", ".rm", ".snd", ".spx", ".ts", ".tta", ".voc", ".vob", ".w64", ".wav"),
        *(".wave", ".weba", ".webm", ".wma", ".wmv", ".wv"),
    )
)
#: Bytes in which the first frame of MPEG audio is looked for: a piece of a stream begins in the middle of one.
_FRAMES_BEGIN: Final = 4096
#: Frames one after another that are no chance.
_FRAMES: Final = 3
_TEXT: Final = re.compile(rb"(\xef\xbb\xbf)?[\t\r\n -~]{16,}")

_RATES: Final = {3: (44_100, 48_000, 32_000), 2: (22_050, 24_000, 16_000), 0: (11_025, 12_000, 8000)}
#: Kilobits a second, by layer; those of the first version of the standard, and of the two later ones.
_FIRST: Final = {
    1: (32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    2: (32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    3: (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
}
_LATER: Final = {
    1: (32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    2: (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    3: (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}


def encoding_of(content: bytes, *, named_raw: bool = False) -> str | None:
    """
    Return how a file is encoded; None if it begins like nothing that is known, as raw samples do.

    :param content: the whole file.
    :param named_raw: whether its name says that it holds raw samples: only what is no chance counts then.
    """
    for at, mark, name in _MARKS:
        if content.startswith(mark, at):
            return name
    starts = range(1 if named_raw else min(_FRAMES_BEGIN, len(content)))
    for frame_size, name in ((_mpeg_frame, "MPEG audio"), (_adts_frame, "ADTS")):
        if any(content[at] == 0xFF and _has_frames(content, at, frame_size) for at in starts if content):
            return name
    if any(_has_packets(content, *layout) for layout in ((0, 188), (4, 192))):
        return "MPEG-TS"
    if not named_raw and _TEXT.fullmatch(content[:512]):
        return "text"
    return None


def _has_frames(content: bytes, at: int, frame_size: Callable[[bytes], int]) -> bool:
    """Return whether frames of one kind follow each other from there; at the end of a file two are enough."""
    for number in range(_FRAMES):
        if at >= len(content):
            return number >= 2
        size = frame_size(content[at : at + 7])
        if not size:
            return False
        at += size
    return True


def _mpeg_frame(head: bytes) -> int:
    """Return the bytes of the frame of MPEG audio that begins so; 0 if none does."""
    if len(head) < 4 or head[0] != 0xFF or head[1] < 0xE0:
        return 0
    version, layer = head[1] >> 3 & 3, 4 - (head[1] >> 1 & 3)
    bitrate, rate, padding = head[2] >> 4, head[2] >> 2 & 3, head[2] >> 1 & 1
    if version not in _RATES or layer == 4 or bitrate in (0, 15) or rate == 3:
        return 0
    bits = (_FIRST if version == 3 else _LATER)[layer][bitrate - 1] * 1000
    if layer == 1:
        return (12 * bits // _RATES[version][rate] + padding) * 4
    samples = 72 if layer == 3 and version != 3 else 144
    return samples * bits // _RATES[version][rate] + padding


def _adts_frame(head: bytes) -> int:
    """Return the bytes of the ADTS frame that begins so; 0 if none does."""
    if len(head) < 7 or head[0] != 0xFF or head[1] & 0xF6 != 0xF0 or head[2] >> 2 & 15 > 12:
        return 0
    size = (head[3] & 3) << 11 | head[4] << 3 | head[5] >> 5
    return size if size > 7 else 0


def _has_packets(content: bytes, first: int, step: int) -> bool:
    """Return whether packets of an MPEG transport stream follow each other. Their heads differ, unlike the bytes of a tone."""
    heads = [content[at : at + 4] for at in range(first, min(len(content), first + 8 * step), step)]
    whole = [head for head in heads if len(head) == 4]
    return len(set(whole)) > 1 and all(
        head[0] == 0x47 and not head[1] & 0x80 and head[3] & 0x30 for head in whole
    )
