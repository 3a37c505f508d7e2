"""What the campaigns against the promotion share: worlds to spoil, points to kill at, and what must hold after."""
