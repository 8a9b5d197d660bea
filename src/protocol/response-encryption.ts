/**
 * Answers that only the client can read: the fields `…_encrypted_response_alg` and `…_encrypted_response_enc` of OpenID Connect
 * Registration §2, the same for every answer that has them. The keys are the client's (client-keys.ts).
 */
import { z } from 'zod';
import type { AuthorizationServer } from './authorization-server.ts';
import type { Client, ClientMetadata } from './client.ts';
import { encryptForClient, type JsonWebKeySet } from './client-keys.ts';
import { type Encryption, encryptionAlgs, encryptionEncs, isKeyFor } from './jose-client.ts';

/** What can be encrypted, by the first word of its fields. */
type Answer = 'id_token' | 'userinfo' | 'authorization' | 'introspection';

export const encryptionAlg = z.enum(encryptionAlgs);
export const encryptionEnc = z.enum(encryptionEncs);

/** How a client registered to get an answer encrypted; `undefined` when it is to come as it is. */
export function encryptionOf(metadata: ClientMetadata, answer: Answer): Encryption | undefined {
  const { alg, enc } = fieldsOf(answer);
  const registered = metadata[alg];
  if (typeof registered !== 'string') return undefined;
  return { alg: registered, enc: String(metadata[enc] ?? encryptionEncs[0]) };
}

/** What is wrong with how an answer shall be encrypted, for a `ClientMetadataCheck`. */
export function encryptionProblem(
  metadata: ClientMetadata,
  answer: Answer,
): { field: string; why: string } | undefined {
  const { alg, enc } = fieldsOf(answer);
  const registered = metadata[alg];
  if (typeof registered !== 'string')
    return metadata[enc] === undefined ? undefined : { field: enc, why: `needs ${alg} beside it` };
  const { jwks, jwks_uri } = metadata;
  if (jwks === undefined && jwks_uri === undefined)
    return { field: alg, why: 'needs a key to encrypt to: jwks or jwks_uri' };
  // What is at an address may change; what is here would fail at the first token.
  const fits = jwks === undefined || (jwks as JsonWebKeySet).keys.some((key) => isKeyFor(key, 'enc', registered));
  return fits ? undefined : { field: alg, why: 'has no key in jwks that is made for it' };
}

function fieldsOf(answer: Answer) {
  return { alg: `${answer}_encrypted_response_alg`, enc: `${answer}_encrypted_response_enc` };
}

/**
 * A signed answer as its client is to get it: encrypted (RFC 7519 §11.2, nested), if it registered that.
 * @throws OAuthError when no key of the client fits
 */
export async function asRegistered(
  jwt: string,
  client: Client,
  answer: Answer,
  server: AuthorizationServer,
): Promise<string> {
  const encryption = encryptionOf(client.metadata, answer);
  return encryption ? encryptForClient(jwt, client, encryption, server) : jwt;
}
