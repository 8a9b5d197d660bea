/** Two whole server processes, or more, on one database, as an operator would run them: `gatehouse dev` twice. */
import { type ChildProcess, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { createDatabase } from './database.ts';
import { freePort } from './ports.ts';

const ROOT = new URL('../..', import.meta.url).pathname;

export interface ProcessNode {
  /** Where it listens; all nodes name the same issuer. */
  readonly url: string;
  /** SIGTERM, and waits for its end. */
  stop(): Promise<void>;
}

export interface ProcessNodes {
  readonly databaseUrl: string;
  /** What every node calls itself; the first one listens there. */
  readonly issuer: string;
  readonly nodes: readonly [ProcessNode, ProcessNode];
  /** What they and the commands of their operator have in their environment. */
  readonly env: Readonly<Record<string, string>>;
  /** One more node, e.g. after the others were stopped. Another one at `port` of the issuer only when that is free. */
  start(port?: number): Promise<ProcessNode>;
  close(): Promise<void>;
}

/** @param more variables of their environment */
export async function startProcesses(more: Readonly<Record<string, string>> = {}): Promise<ProcessNodes> {
  const database = await createDatabase({ migrated: false });
  const folders: string[] = [];
  const running = new Set<ProcessNode>();
  const issuerPort = await freePort();
  const issuer = `http://localhost:${issuerPort}`;
  const shared = {
    DATABASE_URL: database.url,
    GATEHOUSE_ISSUER: issuer,
    GATEHOUSE_COOKIE_KEY: randomBytes(32).toString('base64url'),
    GATEHOUSE_KEY_ENCRYPTION_KEY: randomBytes(32).toString('base64url'),
    GATEHOUSE_DEMO_DATA: 'off',
    LOG_LEVEL: 'warn',
    ...more,
  };
  const start = async (port?: number): Promise<ProcessNode> => {
    const folder = await mkdtemp(join(tmpdir(), 'gatehouse-node-'));
    folders.push(folder);
    const listening = port ?? (await freePort());
    const child = spawn(process.execPath, ['bin/gatehouse.js', 'dev'], {
      cwd: ROOT,
      env: { PATH: process.env.PATH, ...shared, PORT: String(listening), GATEHOUSE_DATA: folder },
      stdio: ['ignore', 'ignore', 'inherit'],
    });
    const node: ProcessNode = {
      url: `http://localhost:${listening}`,
      async stop() {
        running.delete(node);
        if (child.exitCode !== null || child.signalCode !== null) return;
        child.kill('SIGTERM');
        await once(child, 'exit');
      },
    };
    running.add(node);
    await ready(node.url, child);
    return node;
  };
  // Both at once: they share the migration and the first keys too.
  const nodes = await Promise.all([start(issuerPort), start()]);
  return {
    databaseUrl: database.url,
    issuer,
    nodes,
    env: shared,
    start,
    async close() {
      await Promise.all([...running].map((node) => node.stop()));
      await Promise.all(folders.map((folder) => rm(folder, { recursive: true, force: true })));
      await database.drop();
    },
  };
}

async function ready(url: string, child: ChildProcess): Promise<void> {
  for (;;) {
    if (child.exitCode !== null) throw new Error(`The node at ${url} ended with ${child.exitCode}.`);
    const answer = await fetch(`${url}/readyz`).catch(() => undefined);
    if (answer?.ok) return;
    await delay(100);
  }
}
