/**
 * The PostgreSQL of a test run: the one DATABASE_URL names, else an embedded one of its own in a temporary folder.
 * Tests get databases on it from test/support/database.ts.
 *
 * The embedded one is held by a process beside the run, which removes it all as soon as the run is gone: an embedded
 * PostgreSQL outlives whoever started it, and a run that was interrupted or killed tears nothing down.
 */
import { mkdtemp } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestProject } from 'vitest/node';
import { Command } from './embedded-commands.ts';
import { makeTemplate } from './template.ts';

declare module 'vitest' {
  export interface ProvidedContext {
    /** `postgres://…`, with the right to create databases. */
    databaseUrl: string;
    /** A database with the schema and signing keys, to copy. */
    templateDatabase: string;
  }
}

export default async function setup(project: TestProject): Promise<(() => Promise<void>) | undefined> {
  const given = process.env.DATABASE_URL;
  if (given !== undefined && given !== '') {
    project.provide('databaseUrl', given);
    const template = await makeTemplate(given);
    project.provide('templateDatabase', template.name);
    return template.drop;
  }
  const folder = await mkdtemp(join(tmpdir(), 'gatehouse-test-'));
  const postgres = new Command(folder, { temporary: true });
  const { connectionString, error } = await postgres.told();
  if (connectionString === undefined) throw new Error(error);
  project.provide('databaseUrl', connectionString);
  project.provide('templateDatabase', (await makeTemplate(connectionString)).name);
  return () => postgres.close();
}
