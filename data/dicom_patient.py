"""Whose a DICOM file is, as far as that is needed: to tell patients apart, and to warn about names in the files.

Nothing is de-identified here, and no message holds a name, an id or a date.
"""

from __future__ import annotations

import re
from typing import Any

# What anonymisers write in place of an id: it is the same for everybody, so it identifies nobody. ANON0007 does.
PLACEHOLDER = re.compile(
    r"(anonym[a-z]*|anon|none|null|n/?a|nil|unknown|unk|test|patient|subject|dummy|no ?(id|name)|de-?identified|"
    r"removed|redacted|x+|0+)?[\W_]*",
    re.IGNORECASE,
)
NAMING = {
    "PatientName": "Patient's Name",
    "PatientBirthDate": "Patient's Birth Date",
    "PatientAddress": "Patient's Address",
    "PatientTelephoneNumbers": "Patient's Telephone Numbers",
    "OtherPatientIDs": "Other Patient IDs",
}


def patient_of(dataset: Any) -> str | None:
    """Equal for two files of one patient, different for two patients; None where the file does not tell.

    It is the Patient ID; without one, name and birth date together. A placeholder such as "Anonymous" tells nothing,
    and neither does the study, of which one patient may have several. May hold a name: not for logs or files.
    """
    if identifier := _meaningful(dataset.get("PatientID")):
        return f"id {identifier}"
    name, born = _meaningful(dataset.get("PatientName")), _meaningful(dataset.get("PatientBirthDate"))
    return f"name {name} {born}" if name and born else None


def _meaningful(value: Any) -> str:
    """Stripped and in lower case; empty for a placeholder."""
    text = " ".join(str(value or "").replace("^", " ").split()).lower()
    return "" if PLACEHOLDER.fullmatch(text) else text


def privacy_warnings(dataset: Any) -> tuple[str, ...]:
    """Sentences for the user about what seems to identify the patient in header or pixels. They quote nothing."""
    warnings = []
    filled = [label for keyword, label in NAMING.items() if _names_somebody(dataset, keyword)]
    if filled and dataset.get("PatientIdentityRemoved") != "YES":
        warnings.append(
            f"the files may name a patient ({', '.join(filled)}), and derived files will keep that: de-identify them "
            "before they leave the hospital, this tool does not"
        )
    if dataset.get("BurnedInAnnotation") == "YES":
        warnings.append("the header says that text is burned into the pixels, which may name the patient")
    return tuple(warnings)


def _names_somebody(dataset: Any, keyword: str) -> bool:
    value = _meaningful(dataset.get(keyword))
    if keyword == "PatientName":  # a code such as L143_FD is no name; Family^Given is
        return bool(value) and ("^" in str(dataset.PatientName).strip("^") or " " in value)
    return bool(value)
