/**
 * Encrypted request objects: RFC 9101 §6.1, OpenID Connect Core §6.1, §10.2. A signed JWT inside an encrypted one, for clients
 * that do not want browsers, proxies and logs to read what they ask for.
 *
 * Invariant: encryption adds nothing to trust. What comes out is held to all that an object sent without it is held to, its
 * signature first: anybody can encrypt to us.
 */
import { z } from 'zod';
import type { AuthorizationServer } from '../../protocol/authorization-server.ts';
import type { Client, ClientMetadata } from '../../protocol/client.ts';
import { encryptionEncs, JwtRefused } from '../../protocol/jose-client.ts';
import { decryptJwe, looksEncrypted } from '../../protocol/jose-decryption.ts';
import { type Profile, profileOf } from '../../protocol/profile.ts';
import { encryptionEnc } from '../../protocol/response-encryption.ts';

/** OpenID Connect Registration §2. */
export function encryptionMetadata({ decryptionAlgs }: Profile) {
  return {
    request_object_encryption_alg: z.enum(decryptionAlgs).optional(),
    request_object_encryption_enc: encryptionEnc.optional(),
  };
}

/** What is wrong with how a client wants to encrypt, for a `ClientMetadataCheck`. */
export function encryptionProblem(metadata: ClientMetadata): { field: string; why: string } | undefined {
  const { request_object_encryption_alg: alg, request_object_encryption_enc: enc } = metadata;
  return alg === undefined && enc !== undefined
    ? { field: 'request_object_encryption_enc', why: 'needs request_object_encryption_alg beside it' }
    : undefined;
}

/** Characters: a signed object of the size that is read, once more as base64url, with its key and a header. */
const LONGEST = 46 * 1024;

/**
 * The signed object out of what was sent.
 * @param typs what the encrypted object, and what is in it, may call itself
 * @throws JwtRefused when it cannot be opened, or was not sent as the client registered
 */
export async function signedObject(
  sent: string,
  client: Client,
  typs: readonly string[],
  server: AuthorizationServer,
): Promise<string> {
  const { request_object_encryption_alg: alg, request_object_encryption_enc: enc } = client.metadata;
  const registered = typeof alg === 'string';
  if (!looksEncrypted(sent)) {
    // DEVIATION: Registration §2 lets a client that registered an algorithm send others, and none. One that says that it
    // encrypts is held to it, so that a mistake there fails at once instead of showing every request to whoever is on the way.
    if (registered) throw new JwtRefused('it is not encrypted, as the client registered');
    return sent;
  }
  const rules = {
    algs: registered ? [alg] : profileOf(client, server.profile).decryptionAlgs,
    encs: registered ? [String(enc ?? encryptionEncs[0])] : encryptionEncs,
    typs,
    longest: LONGEST,
  };
  return decryptJwe(sent, rules, await server.keyring.decrypting());
}
