"""Columns that several exports share, and short ways to declare one."""

from __future__ import annotations

from soundlink_pipeline.contracts.schema import DATE_COLUMN, VERSION_COLUMN, ExportColumn, Identity, Ratio
from soundlink_pipeline.contracts.subject import Subject
from soundlink_pipeline.contracts.table import MONEY


def count(name: str, meaning: str, *, nullable: bool = False, minimum: int = 0) -> ExportColumn:
    return ExportColumn(name=name, type="BIGINT", meaning=meaning, nullable=nullable, minimum=minimum)


def text(name: str, meaning: str, *, nullable: bool = False, allowed: tuple[str, ...] = ()) -> ExportColumn:
    return ExportColumn(name=name, type="VARCHAR", meaning=meaning, nullable=nullable, allowed=allowed)


def number(name: str, meaning: str, *, nullable: bool = False) -> ExportColumn:
    return ExportColumn(name=name, type="DOUBLE", meaning=meaning, nullable=nullable)


def money(name: str, meaning: str) -> ExportColumn:
    return ExportColumn(name=name, type=MONEY, meaning=meaning)


def identity(subject: Subject, id_meaning: str, targets: tuple[str, ...]) -> tuple[ExportColumn, ...]:
    """The first twelve columns of every export: who measured what when, about which one of a subject.

    `targets` are the kinds of what one can promote.
    """
    name = subject.name
    return (
        text("provider", "Who measured it.", allowed=("soundlink",)),
        # One may move to another organization, in the middle of a day's rows.
        ExportColumn(name="account_id", type="VARCHAR", meaning="Organization id, a UUID.", one_per_row=True),
        text("schema_version", "Version of the export's schema.", allowed=("1.0",)),
        ExportColumn(name=DATE_COLUMN, type="DATE", meaning="UTC calendar day the row is about."),
        text("report_date_timezone", "Time zone of report_date.", allowed=("UTC",)),
        ExportColumn(
            name=VERSION_COLUMN, type="TIMESTAMP", meaning="When Soundlink generated the row (UTC); the version."
        ),
        ExportColumn(name=subject.id_column, type="VARCHAR", meaning=id_meaning, one_per_delivery=True),
        text(subject.name_column, "Display name, any Unicode."),
        text(f"{name}_target_type", "What is promoted; null if undetermined.", nullable=True, allowed=targets),
        text(f"{name}_target_isrc", f"ISRC of the promoted track; track {name}s only.", nullable=True),
        text(f"{name}_target_spotify_track_id", f"Promoted Spotify track; track {name}s only.", nullable=True),
        text(f"{name}_target_playlist_id", f"Promoted Spotify playlist; playlist {name}s only.", nullable=True),
    )


COUNTRY = ExportColumn(
    name="country_code",
    type="VARCHAR",
    meaning="Listener's country by IP, ISO 3166-1 alpha-2; T1 is no country. NA is Namibia, not a missing value.",
    country=True,
)

# Of an engagement export, what follows its identity: who listened to which track.
ENGAGEMENT_KEY = ("engagement_context", "country_code", "engaged_spotify_track_id")


def engagement(context_meaning: str) -> tuple[ExportColumn, ...]:
    """The columns of an engagement export from engagement_context on."""
    return (
        text("engagement_context", context_meaning, allowed=("catalog", "playlist")),
        COUNTRY,
        text("engaged_track_isrc", "ISRC of the track played; may differ from the target's.", nullable=True),
        text("engaged_spotify_track_id", "Stable id of the track played."),
        text("engaged_track_name", "Display name of the track played."),
        count(
            "playlist_position",
            "1-based slot; null on catalog rows, and where unavailable (often so for the current day).",
            nullable=True,
            minimum=1,
        ),
        count("new_listeners", "Listeners whose first play of this track on this link was on report_date."),
        count("returning_listeners", "Listeners whose first play was earlier."),
        count("listeners", "new_listeners + returning_listeners. Never sum across days: a listener recurs."),
        count("new_listener_streams", "Streams by new listeners."),
        count("returning_listener_streams", "Streams by returning listeners."),
        count("streams", "new + returning listeners' streams; across days it counts repeat listens."),
        number("spl", "streams / listeners, 0 when listeners is 0. Never average it."),
    )


SPLITS_ADD_UP = (
    Identity(name="listeners_add_up", left="listeners", right="new_listeners + returning_listeners"),
    Identity(name="streams_add_up", left="streams", right="new_listener_streams + returning_listener_streams"),
)
STREAMS_PER_LISTENER = Ratio(column="spl", numerator="streams", denominator="listeners", undefined="0")
