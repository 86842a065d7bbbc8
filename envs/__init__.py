"""The worlds: backends, scenarios, scores and the lookup-table environments."""
