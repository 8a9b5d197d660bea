/** `gatehouse serve` in tests: an environment it accepts, and plain requests to it. */
import { type Agent, request as httpRequest } from 'node:http';
import { request as httpsRequest } from 'node:https';
import { text } from 'node:stream/consumers';
import { Client, type QueryResultRow } from 'pg';
import { rulesFor } from '../../src/cli/workplace.ts';
import { registerClient } from '../../src/operator/clients.ts';
import { openDatabase } from '../../src/postgres/database.ts';
import { oauth21 } from '../../src/protocol/profile.ts';
import { Passwords } from '../../src/protocol/secrets.ts';
import { systemContext } from '../../src/system-context.ts';
import { freePort } from './ports.ts';
import { TEST_COOKIE_KEY } from './server.ts';
import { TEST_KEY_ENCRYPTION_KEY } from './template.ts';

/** Behind a proxy on this machine, on a free port of 127.0.0.1. */
export async function serveEnvironment(databaseUrl: string): Promise<Record<string, string> & { PORT: string }> {
  return {
    DATABASE_URL: databaseUrl,
    GATEHOUSE_ISSUER: 'https://id.example',
    GATEHOUSE_COOKIE_KEY: TEST_COOKIE_KEY.toString('base64url'),
    GATEHOUSE_KEY_ENCRYPTION_KEY: TEST_KEY_ENCRYPTION_KEY.toString('base64url'),
    GATEHOUSE_TRUSTED_PROXIES: '127.0.0.1',
    HOST: '127.0.0.1',
    PORT: String(await freePort()),
  };
}

export interface Answer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly body: string;
}

export interface Asking {
  readonly form?: Readonly<Record<string, string>>;
  readonly headers?: Readonly<Record<string, string>>;
  /** The certificate to trust. */
  readonly ca?: string;
  /** Milliseconds without an answer to give up after. */
  readonly patience?: number;
  /** Keeps a connection for several requests. */
  readonly agent?: Agent;
}

/** One request, on a connection of its own where no agent keeps one. */
export async function ask(url: string, { form, headers = {}, ca, patience = 0, agent }: Asking = {}): Promise<Answer> {
  const body = form && new URLSearchParams(form).toString();
  const options = {
    method: form ? 'POST' : 'GET',
    agent: agent ?? false,
    headers: { ...(form && { 'content-type': 'application/x-www-form-urlencoded' }), ...headers },
    ...(ca !== undefined && { ca }),
  };
  return new Promise((resolve, reject) => {
    const request = url.startsWith('https:') ? httpsRequest(url, options) : httpRequest(url, options);
    request.once('error', reject);
    request.setTimeout(patience, () => request.destroy(new Error(`No answer from ${url}.`)));
    request.once('response', (response) => {
      text(response).then(
        (read) => resolve({ status: response.statusCode ?? 0, headers: response.headers, body: read }),
        reject,
      );
    });
    request.end(body);
  });
}

/** The status at an address, 0 while nobody answers there. */
export async function statusOf(url: string, asking?: Asking): Promise<number> {
  return ask(url, asking).then(
    ({ status }) => status,
    () => 0,
  );
}

export async function query<Row extends QueryResultRow>(
  databaseUrl: string,
  statement: string,
  values: unknown[] = [],
): Promise<Row[]> {
  const client = new Client({ connectionString: databaseUrl });
  await client.connect();
  try {
    return (await client.query<Row>(statement, values)).rows;
  } finally {
    await client.end();
  }
}

/** Registers a client in a database that no server of ours has open. */
export async function register(databaseUrl: string, metadata: Record<string, unknown>): Promise<string> {
  const database = openDatabase({ url: databaseUrl, poolMax: 1, prepared: false });
  try {
    const rules = rulesFor(database.sql, oauth21, new Passwords(), systemContext);
    return (await registerClient(database.sql, metadata, rules, systemContext)).clientSecret ?? '';
  } finally {
    await database.close();
  }
}
