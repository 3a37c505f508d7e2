"""Changes production: plan, apply, validate, roll back. Rules are in domain/promoting/, locks and SQL in storage/."""
