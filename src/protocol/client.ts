/**
 * Clients: RFC 7591 §2 metadata plus our extensions, checked once when it is registered and trusted from then on.
 *
 * The wire form (snake_case, as registered) is kept whole in {@link Client.metadata}; a room reads its own fields from
 * there, by the shape it registers. Everything several rooms need has a name of its own here.
 */
import { z } from 'zod';
import type { Catalogue } from './catalogue.ts';
import { checkClientKeys, keySet } from './client-keys.ts';
import { OAuthError } from './errors.ts';
import { signingAlgs } from './jose.ts';
import { type Profile, profileOf, profiles } from './profile.ts';
import { contradiction } from './profile-rules.ts';
import { checkRedirectUri, hasPlainHost, isClaimable, isLoopback, parseUrl } from './redirect-uri.ts';
import { encryptionAlg, encryptionEnc, encryptionProblem } from './response-encryption.ts';
import { isScopeToken, parseScope } from './scope.ts';
import { isUuid, sha256 } from './secrets.ts';
import { subjectTypes } from './subject.ts';
import { inOurVoice, printable } from './wrong-values.ts';

export interface ClientSecret {
  /** SHA-256 of the whole secret. */
  readonly hash: Buffer;
  readonly expiresAt: Date | null;
}

export interface Client {
  readonly id: string;
  readonly name: string;
  readonly authenticationMethod: string;
  readonly applicationType: 'web' | 'native';
  readonly grantTypes: readonly string[];
  readonly responseTypes: readonly string[];
  readonly redirectUris: readonly string[];
  /** Scopes it may ask for, and what it gets when it names none. */
  readonly scope: readonly string[];
  /** Types of authorization details it may ask for (RFC 9396 §10). */
  readonly authorizationDetailsTypes: readonly string[];
  /** Origins of browser code that may read our answers (CORS). */
  readonly origins: ReadonlySet<string>;
  /** Seconds; `undefined` takes the resource's or the profile's. */
  readonly accessTokenLifetime: number | undefined;
  /** First-party: the person is not asked. */
  readonly skipConsent: boolean;
  /** Whether its authorization requests need a code challenge. */
  readonly requiresPkce: boolean;
  /** Its sector, where its subjects are pairwise (subject.ts). */
  readonly sector: string | undefined;
  /** Seconds since the last sign-in that are good enough, where a request does not say (Registration §2). */
  readonly defaultMaxAge: number | undefined;
  /** Our own copy of its logo. */
  readonly logoUrl: string | undefined;
  readonly secrets: readonly ClientSecret[];
  readonly disabled: boolean;
  readonly metadata: ClientMetadata;
}

export type ClientMetadata = Readonly<Record<string, unknown>>;

/** A client that cannot keep a secret (OAuth 2.1 §2.1). */
export function isPublic(client: Client): boolean {
  return client.authenticationMethod === 'none';
}

/**
 * Digest of a registration, and of the profile it is held to. What was checked against another one has to be checked anew: kept
 * with a request that is to be finished later, it stops what a stricter registration would have refused.
 * @param own the server's
 */
export function registrationOf({ metadata }: Client, { name }: Profile): Buffer {
  return sha256(JSON.stringify([name, metadata]));
}

/** A client that shares a secret with us. All others prove who they are by a key of their own, or not at all. */
export function hasSecret(client: Client): boolean {
  return client.authenticationMethod.startsWith('client_secret_');
}

/** Shown on pages and in terminals: no control or direction characters, which could fake what stands beside it. */
const text = z
  .string()
  .min(1)
  .max(200)
  .regex(/^[^\p{Cc}\p{Cf}]*$/u, 'must not hold control characters');
const webUri = z.string().max(2000).refine(isWebUri, 'must be an https URI (http on loopback)');
const seconds = z.number().int().positive();

/** Scopes every OpenID client may ask for when its registration names none; those of APIs must be registered. */
const DEFAULT_SCOPE = 'openid profile email address phone offline_access';

/** The fields the kernel itself reads. Rooms add theirs (`Feature.clientMetadata`). */
export const coreClientMetadata = {
  client_id: z
    .string()
    .regex(/^[\x21-\x7E]{1,100}$/, 'must be 1 to 100 printable ASCII characters')
    .optional(),
  client_name: text.optional(),
  client_uri: webUri.optional(),
  logo_uri: webUri.optional(),
  policy_uri: webUri.optional(),
  tos_uri: webUri.optional(),
  contacts: z.array(text).max(10).optional(),
  redirect_uris: z.array(z.string().max(2000)).max(50).default([]),
  token_endpoint_auth_method: z.string().default('client_secret_basic'),
  grant_types: z.array(z.string()).max(20).default(['authorization_code']),
  response_types: z.array(z.string()).max(10).optional(),
  application_type: z.enum(['web', 'native']).default('web'),
  scope: z.string().max(5000).optional(),
  authorization_details_types: z.array(z.string().min(1).max(200)).max(50).optional(),
  software_id: text.optional(),
  software_version: text.optional(),
  jwks: keySet.optional(),
  jwks_uri: webUri.optional(),
  skip_consent: z.boolean().optional(),
  /** A stricter profile than the server's own. */
  profile: z.enum(profiles.map(({ name }) => name) as [string, ...string[]]).optional(),
  /** Response modes it may use, where not all (FAPI 2.0 Message Signing §5.3.3). */
  response_modes: z.array(z.string().max(50)).min(1).max(10).optional(),
  require_pkce: z.boolean().optional(),
  subject_type: z.enum(subjectTypes).optional(),
  sector_identifier_uri: webUri.optional(),
  default_max_age: z.number().int().min(0).max(31_536_000).optional(),
  /** Every ID token has `auth_time`, and `acr` is what was reached: the two are kept, and hold by themselves. */
  require_auth_time: z.boolean().optional(),
  default_acr_values: z.array(text).max(20).optional(),
  /** Third-party initiated login: known to whoever starts it, not used here. */
  initiate_login_uri: webUri.optional(),
  id_token_signed_response_alg: z.enum(signingAlgs).optional(),
  id_token_encrypted_response_alg: encryptionAlg.optional(),
  id_token_encrypted_response_enc: encryptionEnc.optional(),
  access_token_lifetime: seconds.optional(),
  allowed_origins: z.array(z.string().max(500)).max(50).optional(),
} as const;

type CoreMetadata = z.infer<z.ZodObject<typeof coreClientMetadata>>;

export interface RegistrationRules {
  readonly profile: Profile;
  /** Keys of the registries this server was assembled with. */
  readonly grantTypes: ReadonlySet<string>;
  readonly responseTypes: ReadonlySet<string>;
  readonly clientAuthenticationMethods: ReadonlySet<string>;
  /** All rooms' slices, merged over {@link coreClientMetadata}. */
  readonly metadata: z.ZodObject;
  /** What rooms demand of fields together. */
  readonly checks: readonly ClientMetadataCheck[];
}

/**
 * @returns the field that is wrong and why, or `undefined`
 */
export type ClientMetadataCheck = (metadata: ClientMetadata) => { field: string; why: string } | undefined;

/**
 * Checks client metadata as RFC 7591 §2 and the profile demand and fills in the defaults.
 *
 * @returns the metadata to store, and the names of fields nobody here knows (ignored, RFC 7591 §2)
 * @throws OAuthError `invalid_client_metadata` or `invalid_redirect_uri`, naming the field
 */
export function checkClientMetadata(
  input: unknown,
  rules: RegistrationRules,
): { metadata: ClientMetadata; ignored: string[] } {
  const parsed = rules.metadata.safeParse(input, { error: inOurVoice });
  if (!parsed.success) throw malformed(input, parsed.error.issues[0], rules.profile);
  const metadata = parsed.data as CoreMetadata;
  if (metadata.client_id !== undefined) checkClientId(metadata.client_id);

  const method = metadata.token_endpoint_auth_method;
  if (!rules.clientAuthenticationMethods.has(method))
    throw notOffered('token_endpoint_auth_method', '', metadata, rules.profile);
  for (const type of metadata.grant_types) {
    if (!rules.grantTypes.has(type)) throw notOffered('grant_types', `${printable(type)} `, metadata, rules.profile);
  }
  const usesCode = metadata.grant_types.includes('authorization_code');
  const responseTypes = metadata.response_types ?? (usesCode ? ['code'] : []);
  for (const type of responseTypes) {
    if (!rules.responseTypes.has(type)) throw refuse('response_types', `${printable(type)} is not offered here`);
  }
  // RFC 7591 §2.1: the two lists say the same thing.
  if (usesCode !== responseTypes.includes('code')) throw refuse('response_types', 'does not agree with grant_types');
  if (usesCode && metadata.redirect_uris.length === 0)
    throw refuse('redirect_uris', 'is required with grant_types authorization_code');
  if (method === 'none' && metadata.grant_types.includes('client_credentials')) {
    throw refuse('grant_types', 'client_credentials needs a client that authenticates (RFC 6749 §4.4)');
  }
  const plain = contradictionOf('redirect_uris', metadata, rules.profile);
  if (plain !== undefined) throw refuse('redirect_uris', plain);
  for (const uri of metadata.redirect_uris) checkRedirectUri(uri, metadata.application_type);
  if (metadata.skip_consent && method === 'none' && metadata.redirect_uris.some(isClaimable)) {
    throw refuse(
      'skip_consent',
      'is not for public clients with loopback or private-use redirect URIs (RFC 8252 section 8.6)',
    );
  }
  if (metadata.scope !== undefined) {
    const bad = metadata.scope.split(' ').find((token) => token !== '' && !isScopeToken(token));
    if (bad !== undefined) throw refuse('scope', 'has characters outside RFC 6749 §3.3');
  }
  if ((metadata.access_token_lifetime ?? 0) > rules.profile.lifetimes.accessTokenMost) {
    throw refuse('access_token_lifetime', `is ${rules.profile.lifetimes.accessTokenMost} seconds at most`);
  }
  for (const origin of metadata.allowed_origins ?? []) {
    const url = parseUrl(origin);
    if (url?.origin !== origin || !isWebUri(origin) || !hasPlainHost(url))
      throw refuse('allowed_origins', 'must hold origins, like https://app.example');
  }
  checkSector(metadata);
  const complete: ClientMetadata = {
    ...parsed.data,
    response_types: responseTypes,
    scope: metadata.scope ?? (usesCode ? DEFAULT_SCOPE : ''),
  };
  const profile = profileOf({ metadata: complete }, rules.profile);
  const contradicted = contradiction(complete, profile);
  if (contradicted) throw refuse(contradicted.field, contradicted.why);
  for (const check of [checkClientKeys, idTokenEncryption, ...rules.checks]) {
    const problem = check(complete);
    if (problem) throw refuse(problem.field, problem.why);
  }
  return {
    metadata: complete,
    ignored: unknownFields(input as object, rules),
  };
}

/** Names of fields nobody here knows: they are ignored (RFC 7591 §2). */
export function unknownFields(input: object, { metadata }: RegistrationRules): string[] {
  return Object.keys(input).filter((name) => !Object.hasOwn(metadata.shape, name));
}

/** A value that is not offered is told by the profile where it has a say in it, like everything else that it leaves out. */
function malformed(input: unknown, issue: z.core.$ZodIssue | undefined, own: Profile): OAuthError {
  const [name, member] = issue?.path ?? [];
  const isNoSet = member === undefined || (member === 'keys' && issue?.path.length === 2 && issue.code !== 'too_big');
  if (name === 'jwks' && isNoSet) return refuse('jwks', 'must be a JWK Set: { keys: [ ... ] }');
  const field = issue?.path.join('.') || 'client metadata';
  const isListed = issue?.code === 'invalid_value' && typeof input === 'object' && input !== null;
  const found = isListed ? contradictionOf(field, input as ClientMetadata, own) : undefined;
  // RFC 6749 §5.2: a description holds no quotes, and zod puts its options in them.
  return refuse(field, found ?? issue?.message.replaceAll('"', '') ?? 'is malformed');
}

function notOffered(field: string, what: string, metadata: ClientMetadata, own: Profile): OAuthError {
  return refuse(field, contradictionOf(field, metadata, own) ?? `${what}is not offered here`);
}

/** What the profile has against one field, whatever the others are. */
function contradictionOf(
  field: string,
  { profile, application_type, [field]: value }: ClientMetadata,
  own: Profile,
): string | undefined {
  const metadata = { [field]: value, application_type };
  return contradiction(metadata, profileOf({ metadata: { profile } }, own), field)?.why;
}

const idTokenEncryption: ClientMetadataCheck = (metadata) => encryptionProblem(metadata, 'id_token');

/** OpenID Connect Core §8.1: without a sector identifier the one host of the redirect URIs is the sector. */
function checkSector({ subject_type, sector_identifier_uri, redirect_uris }: CoreMetadata): void {
  if (subject_type !== 'pairwise' || sector_identifier_uri !== undefined) return;
  const hosts = new Set(redirect_uris.map((uri) => new URL(uri).hostname));
  // A private-use scheme has none, and loopback is everybody's.
  if (hosts.size !== 1 || redirect_uris.some(isClaimable)) {
    throw refuse(
      'sector_identifier_uri',
      'is required for pairwise subjects unless all redirect_uris have one host of their own',
    );
  }
}

/** What a client's pairwise subjects are made for, a host without its port; `undefined` for public ones. */
function sectorOf({ subject_type, sector_identifier_uri, redirect_uris }: CoreMetadata): string | undefined {
  const uri = sector_identifier_uri ?? redirect_uris[0];
  return subject_type === 'pairwise' && uri !== undefined ? new URL(uri).hostname : undefined;
}

/** FAPI 2.0 SP §6.7, RFC 9700 §4.15: a client must never be taken for a user, nor for a metadata document's URL. */
function checkClientId(id: string): void {
  // A user's id, or a pairwise subject (subject.ts).
  if (isUuid(id.toLowerCase()) || /^[A-Za-z0-9_-]{43}$/.test(id))
    throw refuse('client_id', 'looks like the id of a user');
  if (/^[a-z][a-z0-9+.-]*:/i.test(id)) throw refuse('client_id', 'looks like a URL');
}

function refuse(field: string, why: string): OAuthError {
  return new OAuthError('invalid_client_metadata', `${field}: ${why}`);
}

export function isWebUri(value: string): boolean {
  const url = parseUrl(value);
  if (url === undefined || url.username !== '' || url.password !== '') return false;
  return url.protocol === 'https:' || (url.protocol === 'http:' && isLoopback(url));
}

/** The row as it is stored. */
export interface ClientRecord {
  readonly id: string;
  /** Where our copy of its logo is served. */
  readonly logoUrl: string | undefined;
  readonly metadata: ClientMetadata;
  readonly secrets: readonly ClientSecret[];
  readonly disabled: boolean;
}

/** From the stored record, checked when it was registered, to the client the protocol works with. */
export function toClient(record: ClientRecord): Client {
  const metadata = z.object(coreClientMetadata).parse(record.metadata);
  const redirectOrigins = metadata.redirect_uris
    .map((uri) => new URL(uri).origin)
    .filter((origin) => origin !== 'null');
  return {
    id: record.id,
    name: metadata.client_name ?? record.id,
    authenticationMethod: metadata.token_endpoint_auth_method,
    applicationType: metadata.application_type,
    grantTypes: metadata.grant_types,
    responseTypes: metadata.response_types ?? [],
    redirectUris: metadata.redirect_uris,
    scope: parseScope(metadata.scope ?? ''),
    authorizationDetailsTypes: metadata.authorization_details_types ?? [],
    origins: new Set([...redirectOrigins, ...(metadata.allowed_origins ?? [])]),
    accessTokenLifetime: metadata.access_token_lifetime,
    skipConsent: metadata.skip_consent ?? false,
    requiresPkce: metadata.require_pkce ?? true,
    sector: sectorOf(metadata),
    defaultMaxAge: metadata.default_max_age,
    logoUrl: record.logoUrl,
    secrets: record.secrets,
    disabled: record.disabled,
    metadata: record.metadata,
  };
}

/**
 * Finds an enabled client.
 * @returns `undefined` for unknown and disabled ones alike
 */
export async function findClient(catalogue: Catalogue, id: string | undefined): Promise<Client | undefined> {
  // PostgreSQL has no text with a NUL in it.
  if (id === undefined || id.length > 512 || id.includes('\0')) return undefined;
  const client = await catalogue.client(id);
  return client === undefined || client.disabled ? undefined : client;
}
