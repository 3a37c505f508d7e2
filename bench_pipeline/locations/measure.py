"""The code location `measure`: measures, ranks and reports. It must not be able to write production."""

from bench_pipeline.domain.errors import InputError
from bench_pipeline.locations.building import Part, build_location
from bench_pipeline.settings import Settings, load_settings


def without_the_right_to_promote(settings: Settings) -> Settings:
    """Return the settings. Raises `InputError` when they hold an address that could write production."""
    held = {"BENCH_PROMOTER_URL": settings.promoter_url, "BENCH_OWNER_URL": settings.owner_url}
    if names := [name for name, url in held.items() if url is not None]:
        raise InputError(
            f"{' and '.join(names)} must not be set for the code location `measure`, which runs whatever is started "
            "in Dagster's UI; remove it from this process's environment and from .env in its folder, then start it "
            "again. The code location `promote` needs BENCH_PROMOTER_URL"
        )
    return settings


defs = build_location(without_the_right_to_promote(load_settings()), [Part.MEASURE])
