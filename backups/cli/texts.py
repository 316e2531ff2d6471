"""What ``--help`` teaches beside the options: what each command does, how it ends, and examples."""

EXIT_CODES = """exit codes:
  0    everything is stored everywhere; or the command did all it was asked for
  1    failed
  2    bad usage, job file or user: nothing was touched
  3    partly: some source or destination failed
  130  stopped by Ctrl-C
  143  stopped by SIGTERM
"""
USER = """user:
  Any unprivileged one. root is refused unless the environment variable RUN_AS_USER is set: to root to go on
  as root, or to another user to become that one before anything is read. Anyone else than RUN_AS_USER is refused.
"""
ROOT = """examples:
  backups validate nightly.json                 is the job file right?
  backups run nightly.json                      back up now
  backups list nightly.json                     what is stored, and why it stays
  backups restore nightly.json data --to /tmp/restored

`backups COMMAND --help` shows more of each.

"""
RUN = """
Every source is read once, compressed, encrypted and stored at all destinations at the same time. A copy appears
only after it was completely written and verified. Then retention removes old copies, but only where this run
stored a new one, and the notifications tell how it went; they never change the outcome.

One run of a job at a time: a second one on this machine says so and ends with 1.

examples:
  backups run nightly.json
  backups run nightly.json --source data --source shop
  backups run nightly.json --dry-run            what would be stored and removed
  backups run nightly.json --json > report.json
  0 2 * * * backups run --quiet nightly.json    in a crontab: mail comes only when something is wrong
"""
PLAN = """
Reads the job file and nothing else: no secret is resolved and no destination asked. `backups run --dry-run` asks
the destinations too, and shows what retention would remove.

examples:
  backups plan nightly.json
  backups plan nightly.json --source data --json
"""
LIST = """
A copy is verified when its manifest stands beside it; the manifest is written last, after the copy was checked.
`kept by` names the rules that keep a copy, `until` the first day on which none does if nothing else changes.

examples:
  backups list nightly.json
  backups list nightly.json --destination offsite --source data
  backups list nightly.json --hostname old-server
"""
VERIFY = """
Reads each copy back whole from its destination, compares its size and sha256 with the manifest, and decrypts it to
nothing, so that gpg makes its own check. Without --date it takes the newest copy of each source at each destination.
Ends with 1 when any copy is damaged, missing or can't be read.

With --due it takes those copies of all whose turn it is by the job file's 'verification': run it from cron every day,
and each copy is read back within 'every_days'. It remembers what it read in $XDG_STATE_HOME/backups (~/.local/state),
also when it is stopped half-way, has the channels of the job told of what is wrong, and ends with 1 as long as any copy
is known to be bad.

examples:
  backups verify nightly.json
  backups verify nightly.json --source data --date 2026-01-31 --destination offsite
  0 12 * * * backups verify --due nightly.json > /dev/null    in a crontab: mail comes only when something is wrong
"""
RESTORE = """
Takes the newest verified copy, from the first destination of the job file that holds a whole one. The copy's size,
sha256 and gpg's own check are looked at while it is read, and what is restored appears only when all were right.

--to says where:
  DIR       a folder's archive is unpacked into a directory that is new or empty. A dump is put into it as SOURCE.sql.
            A name is taken for a directory when it ends in a slash, exists as one, or the source is a folder.
  FILE      a dump as one new file; for a folder a name that ends in .tar
  -         standard output. What was written can't be taken back: look at the exit code before you use it.
  mysql://USER@HOST:PORT/DATABASE
            loads a dump into a database that exists and is empty (or with --overwrite). If that fails half-way an
            empty database is emptied again. The password is asked for on a terminal, or stands as a reference:
            mysql://USER:{{resolve:file:/path}}@HOST:PORT/DATABASE. Leave DATABASE out for a dump of several.
  postgresql://USER@HOST:PORT/DATABASE
            the same for PostgreSQL. Leave DATABASE out for a copy of roles ('globals') or of 'all_databases'.

Modes and times of files are kept. Owners are kept only when root restores: RUN_AS_USER=root backups restore …

examples:
  backups restore nightly.json data --to /srv/restored
  backups restore nightly.json shop --to shop.sql --date 2026-01-31 --from offsite
  backups restore nightly.json shop --to - | less
  backups restore nightly.json shop --to mysql://root@127.0.0.1/shop_restored
"""
PRUNE = """
Only copies of this job's own host and sources are looked at, each destination by its own rules. The newest verified
copy of a source always stays, unless 'retention_minimum' says otherwise. A manifest goes with its copy.

examples:
  backups prune nightly.json --dry-run          each copy with keep or remove, and why
  backups prune nightly.json --destination offsite
"""
VALIDATE = """
Shows every problem with its path in the file, then hints for slow or risky settings. Nothing is asked or resolved.

examples:
  backups validate nightly.json
  backups validate jobs/*.json --json
"""
SCHEMA = """
Save it and name it in a job file as "$schema", or in the settings of the editor: it then completes and checks.

example:
  backups schema > job.schema.json
"""
CONVERT = """
Mistakes that the old manual's own examples have are repaired, spellings are made those of today, and every secret
is moved out: the new file holds references to one secret of AWS Secrets Manager.

example:
  backups convert nightly.cfg --output jobs/nightly.json --secrets secrets.json
  aws secretsmanager create-secret --name backups/nightly --secret-string file://secrets.json
"""
START = """
Uses the AWS credentials and region of the environment. Prints the name of the run.

examples:
  backups start nightly
  backups start nightly --source data --stack Backups
"""
WATCH = """
Ends as the run does: with 0, 1 or 3. Ctrl-C ends the watching only; `backups cancel` stops the run.

example:
  backups watch nightly-20260131T020000Z
"""
CANCEL = """
The workers are told to stop and leave nothing half. What was stored before stays. The channels are told that the run
was stopped, and of each source what is known of it.

example:
  backups cancel nightly-20260131T020000Z
"""
NOTIFY = """
A message that a channel refused, or that could not be sent three times, lies in the stack's dead-letter queue for 14
days. Correct what was wrong, then send it again: only what was sent is deleted. Events of schedules that started no
run are shown and stay, since they are no messages: `backups start` makes up for them.

Ends with 3 when some were sent and others are left, with 1 when all are left.

examples:
  backups notify --redrive --dry-run            what lies there, and why
  backups notify --redrive --stack Backups
"""
