"""Images without their metadata.

Sources: ITU-T T.81 annex B (JPEG segments), Exif 2.3 / TIFF 6.0 (orientation), W3C PNG 3rd edition section 11 (chunks).
"""

import re
import struct

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
PNG_METADATA = {b"tEXt", b"zTXt", b"iTXt", b"eXIf", b"tIME"}

SOI, EOI, SOS = 0xD8, 0xD9, 0xDA
APP0, APP1, APP2, APP14, APP15, COM = 0xE0, 0xE1, 0xE2, 0xEE, 0xEF, 0xFE
STANDALONE = {0x01, *range(0xD0, 0xD8)}
OTHER_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")


def strip(data):
    """The same picture without metadata. Raises ValueError for what is neither a JPEG nor a PNG, or is damaged."""
    if data.startswith(PNG_SIGNATURE):
        return b"".join([PNG_SIGNATURE, *png_chunks(data)])
    if data.startswith(b"\xff\xd8"):
        return b"".join([b"\xff\xd8", *jpeg_segments(data), b"\xff\xd9"])
    raise ValueError("neither a JPEG nor a PNG")


def png_chunks(data):
    """The chunks that make the picture, up to IEND; what is behind it is dropped."""
    at = len(PNG_SIGNATURE)
    while at + 12 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, at)
        end = at + 12 + length
        if end > len(data):
            break
        if kind not in PNG_METADATA:
            yield data[at:end]
        if kind == b"IEND":
            return
        at = end
    raise ValueError(f"a PNG that ends within its chunk at byte {at}")


def jpeg_segments(data):
    """The segments that make the picture, between SOI and EOI; what is behind EOI is dropped."""
    at = 2
    while at + 2 <= len(data):
        if data[at] != 0xFF:
            raise ValueError(f"a JPEG without a marker at byte {at}")
        marker = data[at + 1]
        if marker == 0xFF:  # Fill bytes may come before a marker.
            at += 1
        elif marker == EOI:
            return
        elif marker in STANDALONE:
            yield data[at : at + 2]
            at += 2
        else:
            end = segment_end(data, at)
            yield from kept_segment(marker, data[at:end])
            at = end
            if marker == SOS:
                end = scan_end(data, at)
                yield data[at:end]
                at = end
    raise ValueError("a JPEG without an end")


def segment_end(data, at):
    if at + 4 > len(data):
        raise ValueError(f"a JPEG that ends at byte {at}")
    end = at + 2 + struct.unpack_from(">H", data, at + 2)[0]
    if end < at + 4 or end > len(data):
        raise ValueError(f"a JPEG with a segment of a wrong length at byte {at}")
    return end


def kept_segment(marker, segment):
    content = segment[4:]
    if marker == APP1 and content.startswith(b"Exif\0\0"):
        orientation = exif_orientation(content[6:])
        if orientation != 1:
            # Without it, phones' pictures would lie on their side.
            yield orientation_segment(orientation)
    elif not (APP0 <= marker <= APP15 or marker == COM) or is_part_of_picture(marker, content):
        yield segment


def is_part_of_picture(marker, content):
    """What decoders need: JFIF's density, the colour profile, and Adobe's note on how colours were transformed."""
    return (
        (marker == APP0 and content.startswith(b"JFIF\0"))
        or (marker == APP2 and content.startswith(b"ICC_PROFILE\0"))
        or (marker == APP14 and content.startswith(b"Adobe"))
    )


def scan_end(data, at):
    """Where the next marker is that belongs to no scan: not a stuffed zero, not a restart, not a fill byte."""
    match = OTHER_MARKER.search(data, at)
    if match is None:
        raise ValueError("a JPEG without an end")
    return match.start()


def exif_orientation(tiff):
    """1 to 8; 1 when there is none, or none that makes sense."""
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(tiff[:4])
    if order is None or len(tiff) < 8:
        return 1
    at = struct.unpack_from(order + "I", tiff, 4)[0]
    if at + 2 > len(tiff):
        return 1
    count = struct.unpack_from(order + "H", tiff, at)[0]
    for entry in range(at + 2, at + 2 + 12 * count, 12):
        if entry + 12 > len(tiff):
            break
        tag, kind, number, value = struct.unpack_from(order + "HHIH", tiff, entry)
        if (tag, kind, number) == (0x0112, 3, 1):
            return value if 1 <= value <= 8 else 1
    return 1


def orientation_segment(orientation):
    tiff = struct.pack(">2sHIHHHIHHI", b"MM", 42, 8, 1, 0x0112, 3, 1, orientation, 0, 0)
    content = b"Exif\0\0" + tiff
    return struct.pack(">BBH", 0xFF, APP1, 2 + len(content)) + content
