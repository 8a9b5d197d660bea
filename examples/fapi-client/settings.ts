/**
 * Who the client is: its id, its private key, and its server, as `npm start` wrote them to `<data folder>/demo.json`, readable
 * by its owner only. A real client makes its key itself and registers the public half.
 *
 * GATEHOUSE_DATA names that folder (.gatehouse): the same one for the server and for this program.
 */
import { type JsonWebKey, webcrypto } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type * as client from 'openid-client';

const CLIENT_ID = 'photos-fapi';

/** A fault whose message says what to do, so that nobody needs its stack. */
export class SetupFault extends Error {}

export interface Settings {
  readonly issuer: string;
  readonly clientId: string;
  /** With the `kid` that the server knows its public half by. */
  readonly privateKey: client.PrivateKey;
}

export async function readSettings(): Promise<Settings> {
  const file = join(process.env.GATEHOUSE_DATA ?? '.gatehouse', 'demo.json');
  const text = await readFile(file, 'utf8').catch(() => {
    throw new SetupFault(
      `${file} cannot be read: run GATEHOUSE_PROFILE=fapi2-security npm start first, ` +
        "or set GATEHOUSE_DATA to the running server's folder",
    );
  });
  const { issuer, clients } = JSON.parse(text) as {
    issuer: string;
    clients: Record<string, { private_key?: JsonWebKey & { kid: string } }>;
  };
  const jwk = clients[CLIENT_ID]?.private_key;
  if (jwk === undefined)
    throw new SetupFault(`${file} has no client ${CLIENT_ID}: run GATEHOUSE_PROFILE=fapi2-security npm start`);
  const algorithm = { name: 'ECDSA', namedCurve: 'P-256' };
  const key = await webcrypto.subtle.importKey('jwk', jwk, algorithm, false, ['sign']);
  return { issuer, clientId: CLIENT_ID, privateKey: { key, kid: jwk.kid } };
}

/** Runs a program whose faults of setup are told in one line. */
export async function tellFaults(main: () => Promise<void>): Promise<void> {
  try {
    await main();
  } catch (error) {
    const isAway = error instanceof TypeError && error.message === 'fetch failed';
    if (!isAway && !(error instanceof SetupFault)) throw error;
    console.error(isAway ? 'No Gatehouse answers: run GATEHOUSE_PROFILE=fapi2-security npm start' : error.message);
    process.exit(1); // it may still be listening
  }
}
