"""Before all stages: production's tables, which the application owns. They are read and written in storage/."""

import dagster as dg

from bench_pipeline.assets.metadata import OWNERS, PRODUCTION

ACTORS, CONVERSATIONS = dg.AssetKey("actors"), dg.AssetKey("conversations")
PROMPT_TEMPLATES, INTERACTIONS = dg.AssetKey("prompt_templates"), dg.AssetKey("interactions")

_DESCRIPTIONS = {
    ACTORS: "The models and scripts that production can call; one of them may become a champion.",
    CONVERSATIONS: "The steps of the workflows, each with its actor. Only a promotion changes the actor.",
    PROMPT_TEMPLATES: "The prompts that production sends; a task is measured with its conversation's own prompt.",
    INTERACTIONS: "Past calls in production, from which the saving of a change per month is estimated.",
}


def production_tables() -> list[dg.AssetSpec]:
    """Return the tables of production as external assets."""
    return [
        dg.AssetSpec(key, group_name=PRODUCTION, owners=OWNERS, kinds={"sql"}, description=description)
        for key, description in _DESCRIPTIONS.items()
    ]
