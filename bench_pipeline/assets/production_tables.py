"""Before all stages: what comes from outside, the application's tables and the servers. Tables are read in storage/."""

import dagster as dg

from bench_pipeline.assets.metadata import OWNERS, PRODUCTION

ACTORS, CONVERSATIONS = dg.AssetKey("actors"), dg.AssetKey("conversations")
PROMPT_TEMPLATES, INTERACTIONS = dg.AssetKey("prompt_templates"), dg.AssetKey("interactions")
WORKFLOWS, MODEL_SERVERS = dg.AssetKey("workflows"), dg.AssetKey("model_servers")

_DESCRIPTIONS = {
    ACTORS: "The models and scripts that production can call; one of them may become a champion.",
    CONVERSATIONS: "The steps of the workflows, each with its actor. Only a promotion changes the actor.",
    PROMPT_TEMPLATES: "The prompts that production sends; a task is measured with its conversation's own prompt.",
    INTERACTIONS: "Past calls in production, from which the saving of a change per month is estimated.",
    WORKFLOWS: "The order of the conversations in each workflow. Only read.",
}


def production_tables() -> list[dg.AssetSpec]:
    """Return what comes from outside as external assets: the tables of production, and the servers of the models."""
    servers = dg.AssetSpec(
        MODEL_SERVERS,
        group_name=PRODUCTION,
        owners=OWNERS,
        kinds={"llm"},
        description="The servers and files that the models run on; actors.execution_path and the settings name them.",
    )
    return [
        *(
            dg.AssetSpec(key, group_name=PRODUCTION, owners=OWNERS, kinds={"sql"}, description=description)
            for key, description in _DESCRIPTIONS.items()
        ),
        servers,
    ]
