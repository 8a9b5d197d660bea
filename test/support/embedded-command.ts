/**
 * A command beside others: opens the embedded PostgreSQL of the folder it is given, tells what happens in lines of JSON,
 * and stops when its standard input ends, as that does with whoever started it, even by kill -9. Like a server that
 * drains, it survives a Ctrl-C.
 *
 * With `temporary` as its second argument the database is there for as long as the command is: made for speed, not to
 * last, and removed at the end with its folder, whoever is still connected.
 */
import { once } from 'node:events';
import { rm } from 'node:fs/promises';
import { Client } from 'pg';
import { startEmbedded } from '../../src/postgres/embedded.ts';

function tell(event: Record<string, unknown>): void {
  console.log(JSON.stringify(event));
}

async function endSessions(connectionString: string): Promise<void> {
  const client = new Client({ connectionString });
  await client.connect();
  await client.query(
    `SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity
     WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()`,
  );
  await client.end();
}

process.on('SIGINT', () => tell({ interrupted: true }));
// Whoever reads what it tells may be gone.
process.stdout.on('error', () => undefined);

const [, , dataFolder = '', lifetime] = process.argv;
const temporary = lifetime === 'temporary';
try {
  const { connectionString, joined, stop } = await startEmbedded({ dataFolder, durable: !temporary });
  tell({ connectionString, joined });
  await once(process.stdin.resume(), 'end');
  if (temporary) await endSessions(connectionString);
  await stop();
  if (temporary) await rm(dataFolder, { recursive: true });
} catch (error) {
  tell({ error: error instanceof Error ? error.message : String(error) });
  process.exitCode = 1;
}
