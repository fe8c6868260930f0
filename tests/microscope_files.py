"""Files of microscopes, written as their formats say: small ones of ND2 and of LIF."""

from __future__ import annotations

import struct
from itertools import pairwise

import numpy as np

_MAGIC = 0x0ABECEDA
_TYPES = {int: "lx_uint32", float: "double", str: "CLxStringW", bool: "bool"}


def _variant(items):
    head = '<?xml version="1.0" encoding="UTF-8"?><variant version="1.0">'
    return f"{head}{_element('no_name', items)}</variant>".encode()


def _element(name, value):
    if isinstance(value, dict):
        inside = "".join(_element(*item) for item in value.items())
        return f'<{name} runtype="CLxListVariant">{inside}</{name}>'
    text = str(value).lower() if isinstance(value, bool) else value
    return f'<{name} runtype="{_TYPES[type(value)]}" value="{text}"/>'


def write_nd2(path, values, *, micrometers, seconds, names, measured=0.0, samples=1):
    """Write time points x channels x y x x, one chunk a time point, and the map.

    Each name is of a channel of so many samples; without a size of pixels they are
    calibrated by nobody.
    """
    count, channels, height, width = values.shape
    spectrum = {"uiCount": 1, "pPoint": {"a": {"dWavelength": 400.0, "dTValue": 1.0}}}
    probe = {"m_ExcitationSpectrum": spectrum, "m_EmissionSpectrum": spectrum}
    planes = {
        f"a{number}": {
            "uiCompCount": samples,
            "uiSampleIndex": number * samples,
            "sDescription": name,
            "uiColor": 0xFF << 8 * (2 - number),
            "pFluorescentProbe": probe,
        }
        for number, name in enumerate(names)
    }
    size = {"uiWidth": width, "uiHeight": height, "uiWidthBytes": 2 * channels * width}
    bits = {"uiBpcInMemory": 16, "uiBpcSignificant": 16, "eCompression": 2}
    counts = {"uiComp": channels, "uiSequenceCount": count}
    places = {"sPicturePlanes": {"uiCount": len(names), "sPlane": planes}}
    sizes = {"dCalibration": micrometers or 1.0, "bCalibrated": bool(micrometers)}
    period = {"uiCount": count, "dPeriod": 1000.0 * seconds}
    period |= {"dStart": 0.0, "dDuration": 0.0}
    period |= {
        f"d{name}PeriodDiff": 1000.0 * measured for name in ("Min", "Max", "Avg")
    }
    loop = {"eType": 1, "uiLoopSize": count, "uLoopPars": period}
    documents = {
        "ImageAttributesLV!": {"SLxImageAttributes": size | bits | counts},
        "ImageMetadataSeqLV|0!": {"SLxPictureMetadata": places | sizes},
        "ImageMetadataLV!": {"SLxExperiment": loop},
    }
    chunks = {name.encode(): _variant(said) for name, said in documents.items()}
    for number, plane in enumerate(values):
        pixels = np.moveaxis(plane, 0, -1).astype("<u2").tobytes()
        chunks[f"ImageDataSeq|{number}!".encode()] = bytes(8) + pixels
    head = struct.pack("IIQ", _MAGIC, 32, 64) + b"ND2 FILE SIGNATURE CHUNK NAME01!"
    body = bytearray((head + b"Ver3.0".ljust(64, b"\0")).ljust(4096, b"\0"))
    index = b""
    for name, data in chunks.items():
        index += name + struct.pack("QQ", len(body), len(data))
        body += struct.pack("IIQ", _MAGIC, 4072, len(data))
        body += name.ljust(4072, b"\0") + data
        body += bytes(-len(body) % 4096)
    signature, place = b"ND2 CHUNK MAP SIGNATURE 0000001!", len(body)
    index += signature + struct.pack("QQ", place, 0)
    body += struct.pack("IIQ", _MAGIC, 32, len(index))
    body += b"ND2 FILEMAP SIGNATURE NAME 0001!" + index
    path.write_bytes(body + signature + struct.pack("Q", place))


def write_lif(path, images, *, meters, luts):
    """Write images by name, each channels x z x y x x, one block of memory each."""
    bodies = {name: each.astype("<u2").tobytes() for name, each in images.items()}
    elements = "".join(
        _lif_element(name, number, images[name].shape, meters, luts)
        for number, name in enumerate(bodies)
    )
    text = (
        '<LMSDataContainerHeader Version="2"><Element Name="all" UniqueID="0"><Data>'
        '<Experiment Path=""/></Data><Memory Size="0" MemoryBlockID="MemBlock_99"/>'
        f"<Children>{elements}</Children></Element></LMSDataContainerHeader>"
    )
    head = text.encode("utf-16-le")
    said = struct.pack("<iiBi", 0x70, 5 + len(head), 0x2A, len(text)) + head
    for number, body in enumerate(bodies.values()):
        block = f"MemBlock_{number}"
        name = block.encode("utf-16-le")
        sizes = (0x70, 14 + len(name), 0x2A, len(body), 0x2A, len(block))
        said += struct.pack("<iiBqBi", *sizes) + name + body
    path.write_bytes(said)


def _lif_element(name, number, shape, meters, luts):
    steps = [int(np.prod(shape[axis:])) * 2 for axis in range(len(shape) + 1)]
    whole = [first for first, _ in pairwise(steps)]
    channels = "".join(
        f'<ChannelDescription DataType="0" ChannelTag="0" Resolution="16" Min="0" '
        f'Max="65535" NameOfMeasuredQuantity="" IsLUTInverted="0" BitInc="0" Unit="" '
        f'LUTName="{lut}" BytesInc="{index * whole[1]}"/>'
        for index, lut in enumerate(luts)
    )
    dimensions = "".join(
        f'<DimensionDescription DimID="{4 - axis}" NumberOfElements="{shape[axis]}" '
        f'Origin="0" Length="{(shape[axis] - 1) * meters[axis - 1]}" Unit="m" '
        f'BytesInc="{steps[axis + 1]}" BitInc="0"/>'
        for axis in (3, 2, 1)
    )
    return (
        f'<Element Name="{name}" UniqueID="{number + 1}"><Data><Image>'
        f"<ImageDescription><Channels>{channels}</Channels><Dimensions>{dimensions}</Dimensions>"
        f'</ImageDescription></Image></Data><Memory Size="{whole[0]}" '
        f'MemoryBlockID="MemBlock_{number}"/><Children/></Element>'
    )


def read_all(image):
    """All pixels of what was read."""
    return image.source.read(tuple((0, size) for size in image.shape))
