"""The worlds: backends, scenarios, scores and the lookup-table environments, registered with Gymnasium on import."""

from gymnasium.envs.registration import register

register(
    id="LookupTable-v0",
    entry_point="envs.lookup_table:LookupTableEnv",
    vector_entry_point="envs.lookup_table:LookupTableVectorEnv",
)
register(id="LookupTableOneShot-v0", entry_point="envs.one_shot:LookupTableOneShotEnv")
