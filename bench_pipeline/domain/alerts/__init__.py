"""What people are told: causes, messages, and foreign text made safe for them. Sending is in operation/alerting."""
