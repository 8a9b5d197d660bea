/**
 * Request objects by value: RFC 9101, OpenID Connect Core §6.1. The parameters of an authorization request inside a JWT that the
 * client signed, so that nobody between it and us can change them; encrypted, too, where nobody shall read them (encryption.ts).
 *
 * Invariant: what comes out of here was all signed by the client. Of what stood beside the object only `client_id` counts,
 * because it says whose key to look for.
 *
 * Where the two specifications differ the request of either is taken: `iss`, `aud` (SHOULD in both), `client_id` and `nbf` may
 * be absent and have to be right when they are there; `response_type` and `scope` may stand outside too, as OpenID wants, or
 * not. `exp` is asked of all, though neither names it: a `jti` is not used up, since a browser may come back to the same
 * address and begins there a sign-in of its own, so nothing else bounds how long others can who have seen the address.
 */
import { z } from 'zod';
import { AUTHORIZATION_PARAMETERS } from '../../protocol/authorization-request.ts';
import type { AuthorizationServer } from '../../protocol/authorization-server.ts';
import type { Client, ClientMetadata } from '../../protocol/client.ts';
import { verifyJwtOf } from '../../protocol/client-keys.ts';
import { OAuthError } from '../../protocol/errors.ts';
import type { CarriedParameters, Feature } from '../../protocol/feature.ts';
import {
  algsOf,
  checkTimes,
  clientSigningAlgs,
  encryptionEncs,
  type JwtClaims,
  JwtRefused,
} from '../../protocol/jose-client.ts';
import { looksEncrypted } from '../../protocol/jose-decryption.ts';
import { Parameters } from '../../protocol/message.ts';
import { type Profile, profileOf } from '../../protocol/profile.ts';
import { encryptionMetadata, encryptionProblem, signedObject } from './encryption.ts';

export function jar(profile: Profile): Feature {
  const algs = clientSigningAlgs(profile);
  return {
    name: 'jar',
    requestSources: [{ name: 'request', read: readRequestObject }],
    clientMetadata: {
      request_object_signing_alg: z.enum(algs).optional(), // OpenID Connect Registration §2
      require_signed_request_object: z.boolean().optional(), // RFC 9101 §10.5
      ...encryptionMetadata(profile),
    },
    checkClientMetadata: (metadata) => missingKeys(metadata) ?? encryptionProblem(metadata),
    serverMetadata: () => ({
      request_parameter_supported: true,
      request_object_signing_alg_values_supported: algs,
      request_object_encryption_alg_values_supported: profile.decryptionAlgs,
      request_object_encryption_enc_values_supported: encryptionEncs,
    }),
  };
}

/** What only a client that signs can mean: an encrypted object is a signed one inside. */
const OF_SIGNERS = ['request_object_signing_alg', 'require_signed_request_object', 'request_object_encryption_alg'];

function missingKeys(metadata: ClientMetadata): { field: string; why: string } | undefined {
  if (metadata.jwks !== undefined || metadata.jwks_uri !== undefined) return undefined;
  const field = OF_SIGNERS.find((name) => metadata[name] !== undefined && metadata[name] !== false);
  return field === undefined ? undefined : { field, why: 'needs jwks or jwks_uri' };
}

/** Characters. */
const LONGEST = 32 * 1024;
/** RFC 9101 §4, §10.8.1; and what libraries from before it say, or nothing. */
const TYPES = ['oauth-authz-req+jwt', 'jwt'];
/** Seconds, of those objects that tell their time. */
const LONGEST_LIFE = 3600;

async function readRequestObject(
  outer: Parameters,
  client: Client,
  now: Date,
  server: AuthorizationServer,
): Promise<CarriedParameters> {
  const profile = profileOf(client, server.profile);
  const algs = algsOf(client.metadata.request_object_signing_alg, profile);
  const sent = outer.get('request') ?? '';
  try {
    const object = await signedObject(sent, client, TYPES, server);
    const rules = { algs, typs: TYPES, longest: LONGEST };
    const claims = await verifyJwtOf(client, object, rules, server);
    checkClaims(claims, outer, client, server.issuer);
    if (claims.exp === undefined) throw new JwtRefused('it has no exp');
    if (profile.requiresRequestObjectTimes) requireTimes(claims, server.issuer);
    checkTimes(claims, now, { longest: LONGEST_LIFE });
    return { parameters: parametersOf(claims, client) };
  } catch (error) {
    if (!(error instanceof JwtRefused)) throw error;
    // OpenID Connect Core §3.1.2.6 has a word of its own for what we do not offer; of what was encrypted it would tell
    // strangers something.
    throw error.unsigned && !looksEncrypted(sent)
      ? new OAuthError('request_not_supported', 'Unsigned request objects are not supported.', { cause: error })
      : new OAuthError('invalid_request_object', `The request object is not good: ${error.message}.`, { cause: error });
  }
}

/** FAPI 2.0 Message Signing §5.3.1-2 to -4: addressed to us, and good from a moment to a moment. */
function requireTimes({ nbf, aud }: JwtClaims, issuer: string): void {
  if (nbf === undefined) throw new JwtRefused('it has no nbf');
  if (aud === undefined) throw new JwtRefused(`its aud is not ${issuer}`);
}

function checkClaims(claims: JwtClaims, outer: Parameters, client: Client, issuer: string): void {
  const { iss, aud, sub } = claims;
  // RFC 9101 §4.
  if (iss !== undefined && iss !== client.id) throw new JwtRefused('its iss is not the client');
  if (aud !== undefined && aud !== issuer && !(Array.isArray(aud) && aud.includes(issuer)))
    throw new JwtRefused('its aud is not this server');
  // RFC 9101 §10.8: with the client as its subject it could pass for a client assertion.
  if (sub === client.id) throw new JwtRefused('its sub is the client');
  // RFC 9101 §4: no object within the object.
  if (Object.hasOwn(claims, 'request') || Object.hasOwn(claims, 'request_uri'))
    throw new JwtRefused('it has request or request_uri inside');
  // RFC 9101 §5: of whoever sends it, which is who is named beside it, or who has authenticated to push it (RFC 9126 §2.1).
  if (claims.client_id !== undefined && claims.client_id !== client.id)
    throw new JwtRefused('its client_id is not the client');
  // OpenID Connect Core §6.1.
  const beside = outer.get('response_type');
  if (claims.response_type !== undefined && beside !== undefined && claims.response_type !== beside)
    throw new JwtRefused('its response_type is not the one beside it');
}

/** RFC 9101 §4: strings as strings, numbers as numbers, structures as JSON; what is not read here is ignored (RFC 6749 §3.1). */
function parametersOf(claims: JwtClaims, client: Client): Parameters {
  const pairs = Object.entries(claims).flatMap(([name, value]) => {
    if (!PARAMETERS.has(name)) return [];
    const values = textsOf(name, value);
    if (values === undefined || values.some((text) => NOT_TEXT.test(text)))
      throw new JwtRefused(`its ${name} is not of the right type`);
    return values.map((text): [string, string] => [name, text]);
  });
  return new Parameters([...pairs.filter(([name]) => name !== 'client_id'), ['client_id', client.id]]);
}

/** `registration` is not read, but has an error of its own. */
const PARAMETERS = new Set([...AUTHORIZATION_PARAMETERS, 'registration']);
/** What no form could have carried: NUL, and halves of characters. */
const NOT_TEXT = /[\0\p{Surrogate}]/u;

/** A claim as values of its parameter, each in the one JSON type that it may have beside a string. */
function textsOf(name: string, value: unknown): readonly string[] | undefined {
  if (typeof value === 'string') return [value];
  if (name === 'max_age') return typeof value === 'number' ? [String(value)] : undefined;
  if (name === 'claims' || name === 'registration') return isObject(value) ? [JSON.stringify(value)] : undefined;
  // RFC 9396 §3, in the form it has everywhere.
  if (name === 'authorization_details') return Array.isArray(value) ? [JSON.stringify(value)] : undefined;
  const strings = name === 'resource' && Array.isArray(value) && value.every((item) => typeof item === 'string');
  return strings ? value : undefined;
}

function isObject(value: unknown): boolean {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
