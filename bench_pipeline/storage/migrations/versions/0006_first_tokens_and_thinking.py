"""When the first token of a reply arrived, and how much of the reply was thinking."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

_COLUMNS = {
    "thinking_tokens": "those of the generated tokens that the model thought",
    "first_token_ns": "client side, from sending to the first thought or text",
    "first_text_ns": "client side, from sending to the first text",
}


def upgrade() -> None:
    """Bring the schema forward. Calls made until now keep no such times."""
    for name, comment in _COLUMNS.items():
        op.add_column("benchmark_samples", sa.Column(name, sa.BigInteger(), nullable=True, comment=comment))
