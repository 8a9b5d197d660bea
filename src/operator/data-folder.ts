/** The data folder of `gatehouse dev`: keys of its own and the demo clients' secrets, readable by their owner only. */
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Context } from '../protocol/context.ts';

export interface DevelopmentKeys {
  readonly cookieKeys: readonly Buffer[];
  readonly keyEncryptionKeys: readonly Buffer[];
}

/** The keys of this folder, made at first use; of two commands at once one makes them. */
export async function developmentKeys(folder: string, { random }: Context): Promise<DevelopmentKeys> {
  await mkdir(folder, { recursive: true, mode: 0o700 });
  const file = join(folder, 'keys.json');
  const fresh = { cookie_key: random(32).toString('base64url'), key_encryption_key: random(32).toString('base64url') };
  await writeFile(file, JSON.stringify(fresh), { mode: 0o600, flag: 'wx' }).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== 'EEXIST') throw error;
  });
  const kept = JSON.parse(await readFile(file, 'utf8')) as typeof fresh;
  return {
    cookieKeys: [Buffer.from(kept.cookie_key, 'base64url')],
    keyEncryptionKeys: [Buffer.from(kept.key_encryption_key, 'base64url')],
  };
}

/** What `npm run demo` and `npm run demo:fapi` read. */
export interface DemoSecrets {
  readonly issuer: string;
  readonly clients: Readonly<Record<string, DemoCredential>>;
}

/** What a client proves with who it is: a secret it shares with us, or a key of its own. */
export interface DemoCredential {
  readonly client_secret?: string;
  /** A private JWK; we keep the public half. */
  readonly private_key?: Readonly<Record<string, unknown>>;
}

export async function readDemoSecrets(folder: string): Promise<DemoSecrets | undefined> {
  try {
    return JSON.parse(await readFile(join(folder, 'demo.json'), 'utf8')) as DemoSecrets;
  } catch {
    return undefined;
  }
}

export async function writeDemoSecrets(folder: string, secrets: DemoSecrets): Promise<void> {
  await mkdir(folder, { recursive: true, mode: 0o700 });
  await writeFile(join(folder, 'demo.json'), `${JSON.stringify(secrets, null, 2)}\n`, { mode: 0o600 });
}
