"""A year of daily refreshes with everything that befalls one, compressed in time: is the warehouse true on every day,
and what grows?

`python -m benchmarks.endurance [--days 365] [--seed 1] [--out FOLDER]`: each simulated day the API's clock moves on by
a day, the project's own schedule says which range is due at 07:00, and one real run of daily_refresh pulls it, builds
every model, asks every check and publishes. About one day in six is bad: the API is down, the laptop is closed, a
campaign fails, answers are cut or refused, the run is killed. After every refresh that succeeds the tables are held
against the simulated world; the benchmark ends at the first row that is not true. Writes `endurance.csv`,
`endurance.json`, `endurance.svg` and `endurance.png` into FOLDER; all else there is scratch and removed at the start.

The year lies in the past: Dagster's own clock stands at today throughout, and would refuse days to come. A refresh is
a process of its own, forked from this one, which has imported all of it and runs no thread: so its peak memory and CPU
time are those of a run, imported code included. The API is another process.
"""
