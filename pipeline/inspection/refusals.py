"""Inspection, pure: what it means when the center, or its broker, does not serve a region, and what to do.

In English and Indonesian: `doctor` says the one, the alarms and why a packet waits say both.
"""

from __future__ import annotations

from typing import NamedTuple

from pipeline.said import Said, say


class Refused(NamedTuple):
    """What it means, and what to do about it."""

    meaning: Said
    do: Said

    def sentence(self) -> Said:
        """Both in one."""
        return say("{meaning}: {do}", "{meaning}: {do}", meaning=self.meaning, do=self.do)


SUPERSEDED = Refused(
    Said("another machine speaks as this region", "mesin lain berbicara sebagai daerah ini"),
    Said("`titian up --take-over` claims it back", "`titian up --take-over` mengambilnya kembali"),
)
#: A key that was revoked is over for good, and a folder has one key: the way back is another folder.
_ANOTHER_FOLDER = Said(
    "`titian init region --join FILE --data NEWFOLDER` here; packets that are not sent stay in this folder "
    "(`titian depth` says how many)",
    "`titian init region --join FILE --data NEWFOLDER` di sini; paket yang belum terkirim tetap di folder "
    "ini (`titian depth` menyebut jumlahnya)",
)
_ASK = Said("ask the center", "hubungi pusat")
_ANEW = Said("`titian admit CODE --again` at the center", "`titian admit CODE --again` di pusat")
_LOCKED_OUT = Refused(
    Said(
        "the center does not let this region in any more (revoked, or admitted anew on another machine)",
        "pusat tidak lagi mengizinkan daerah ini masuk (dicabut, atau diterima ulang di mesin lain)",
    ),
    say(
        "ask the center for a new join file (`titian admit CODE --again` there). If it revoked this machine: "
        "{folder}. Else put the file in the place of DATA/center.json, and start this side again",
        "minta berkas gabung baru dari pusat (`titian admit CODE --again` di sana). Jika mesin ini dicabut: "
        "{folder}. Jika tidak, taruh berkas itu menggantikan DATA/center.json, lalu mulai ulang sisi ini",
        folder=_ANOTHER_FOLDER,
    ),
)
_NOT_ALLOWED = Refused(
    Said(
        "the center's broker does not allow what this Titian asks of it",
        "perantara di pusat tidak mengizinkan yang diminta Titian ini",
    ),
    Said("ask the center to update it", "minta pusat memperbaruinya"),
)
#: What the center refuses to serve for, and what helps.
REFUSALS = {
    "token_used": Refused(
        Said(
            "another machine joined with this join file",
            "mesin lain sudah bergabung dengan berkas gabung ini",
        ),
        _ANEW,
    ),
    "token_wrong": Refused(
        Said("the join file is old", "berkas gabung ini sudah lama"),
        say("{anew} makes a new one", "{anew} membuat yang baru", anew=_ANEW),
    ),
    "revoked": Refused(
        Said(
            "the center revoked this machine's key for good, and no join file helps in this folder",
            "pusat mencabut kunci mesin ini untuk seterusnya, dan berkas gabung tidak menolong di folder ini",
        ),
        say("{anew}, then {folder}", "{anew}, lalu {folder}", anew=_ANEW, folder=_ANOTHER_FOLDER),
    ),
    "not_admitted": Refused(
        Said("the center does not know this region", "pusat tidak mengenal daerah ini"), _ASK
    ),
    "newer_version": Refused(
        Said("the center is older than this Titian", "pusat lebih lama daripada Titian ini"),
        Said("update the center", "perbarui pusat"),
    ),
}


def denial(why: str) -> Refused:
    """What a denial of the center's broker means (`why`: what it said), and what to do."""
    return _NOT_ALLOWED if "permission" in why.lower() else _LOCKED_OUT


def refusal(code: str) -> Refused:
    """What a refusal of the center means, and what to do."""
    said = say(
        "the center will not serve this region ({code})",
        "pusat tidak mau melayani daerah ini ({code})",
        code=code,
    )
    known = REFUSALS.get(code)
    if known is None:
        return Refused(said, _ASK)
    return Refused(say("{said}: {why}", "{said}: {why}", said=said, why=known.meaning), known.do)
