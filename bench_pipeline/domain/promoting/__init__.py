"""What changes in production: decisions, finals, plans, approvals, refusals."""
