"""The local services Redis, Milvus and SQLite on loopback, started and watched by `supervisor.Supervisor`."""
