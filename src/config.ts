/**
 * Configuration: the environment, read once, here and nowhere else. {@link Config} may be logged; {@link Secrets} never.
 * A wrong value stops the start with one line that names the variable.
 */
import { X509Certificate } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { BlockList, isIP } from 'node:net';
import { availableParallelism } from 'node:os';
import { createSecureContext } from 'node:tls';
import { z } from 'zod';
import { themeStylesheet } from './protocol/page.ts';
import { oauth21, type Profile, profiles } from './protocol/profile.ts';
import { isLoopback, parseUrl } from './protocol/redirect-uri.ts';
import { inOurVoice } from './protocol/wrong-values.ts';

export type Mode = 'dev' | 'serve';

/** One line that says which variable is wrong and what to do. */
export class ConfigurationError extends Error {
  constructor(message: string) {
    super(message);
    this.name = 'ConfigurationError';
  }
}

/** @param told what a wrong value is told instead of zod's words for numbers */
function wholeNumber(min: number, max: number, told = `must be a whole number from ${min} to ${max}`) {
  return z.coerce.number(told).int(told).min(min, told).max(max, told);
}

const port = wholeNumber(1, 65_535, 'must be a port, 1 to 65535');
const databaseUrl = z.string().refine(isDatabaseUrl, 'must be a URL like postgres://user:password@host:5432/database');
const keyList = z.string().transform((list, context) =>
  list.split(',').map((text) => {
    const key = Buffer.from(text.trim(), 'base64url');
    if (key.length < 32)
      context.addIssue('each key must be at least 32 random bytes in base64 or base64url (openssl rand -base64 32)');
    return key.subarray(0, 32);
  }),
);
const onOff = z
  .enum(['on', 'off', 'true', 'false', '1', '0'])
  .transform((value) => ['on', 'true', '1'].includes(value));

function isDatabaseUrl(text: string): boolean {
  const protocol = parseUrl(text)?.protocol;
  return protocol === 'postgres:' || protocol === 'postgresql:';
}

function isOrigin(text: string): boolean {
  const url = parseUrl(text);
  return (
    url !== undefined &&
    url.origin === text &&
    (url.protocol === 'https:' || (url.protocol === 'http:' && isLoopback(url)))
  );
}

function isAddressRange(text: string): boolean {
  const [address = '', bits, ...rest] = text.split('/');
  const family = isIP(address);
  // A zone says which of one machine's interfaces is meant, and is not compared.
  if (family === 0 || address.includes('%') || rest.length > 0) return false;
  if (bits === undefined) return true;
  if (!/^\d{1,3}$/.test(bits) || Number(bits) > (family === 4 ? 32 : 128)) return false;
  // To trust everybody is to trust nobody's word: a range with all of IPv4 in it, in either writing, is a mistake.
  const range = new BlockList();
  range.addSubnet(address, Number(bits), family === 4 ? 'ipv4' : 'ipv6');
  return !(range.check('0.0.0.0') && range.check('255.255.255.255'));
}

const MTLS_PORT = 'must be a port, 1 to 65535, or off';
const CERTIFICATE_HEADER = /^(rfc9440|xfcc|pem|base64)(?::([A-Za-z0-9-]{1,64}))?$/;
/** Only these two forms have a header of their own. */
const HEADER_OF_FORM: Readonly<Record<string, string>> = { rfc9440: 'client-cert', xfcc: 'x-forwarded-client-cert' };

function certificateHeader(value: string): CertificateHeader | undefined {
  const [, form, name = HEADER_OF_FORM[form ?? '']] = CERTIFICATE_HEADER.exec(value) ?? [];
  return form === undefined || name === undefined
    ? undefined
    : { form: form as CertificateHeader['form'], name: name.toLowerCase() };
}

const WORKERS = 'must be a number from 1 to 256, or auto';

/** Every variable, with the words of the README's table (`npm run docs:environment` prints it). */
export const environment = {
  PORT: port.default(3000).describe('Port to listen on'),
  HOST: z.string().min(1).optional().describe('Address to listen on: `localhost` in `dev`, `0.0.0.0` in `serve`'),
  GATEHOUSE_ISSUER: z
    .string()
    .refine(isOrigin, 'must be an origin without path and trailing slash: https://…, in `dev` also http://localhost:…')
    .optional()
    .describe(
      'The address people and clients know this server by; `http://localhost:$PORT` in `dev`, required in `serve`',
    ),
  DATABASE_URL: databaseUrl.optional().describe('PostgreSQL 15 or later; `dev` brings its own, `serve` requires it'),
  DATABASE_DIRECT_URL: databaseUrl
    .optional()
    .describe('PostgreSQL past a pooler, for LISTEN and migrations; default `DATABASE_URL`'),
  DATABASE_POOL_MAX: wholeNumber(1, 1000).default(10).describe('Connections of each process at most'),
  GATEHOUSE_PREPARED: onOff
    .default(true)
    .describe('Named statements; behind a transaction pooler see docs/operations.md'),
  GATEHOUSE_DATA: z
    .string()
    .min(1)
    .default('.gatehouse')
    .describe('Folder of `dev`: the embedded database, keys, demo secrets'),
  GATEHOUSE_COOKIE_KEY: keyList
    .optional()
    .describe(
      'Keys for cookies, base64 or base64url of 32 bytes, a comma list: the first writes, all read; required in `serve`',
    ),
  GATEHOUSE_KEY_ENCRYPTION_KEY: keyList
    .optional()
    .describe('Keys that our private keys are encrypted under, in the same form; required in `serve`'),
  GATEHOUSE_PROFILE: z
    .enum(profiles.map(({ name }) => name) as [string, ...string[]])
    .default(oauth21.name)
    .describe('What is offered and demanded'),
  GATEHOUSE_TLS_CERT: z.string().min(1).optional().describe('PEM file: certificate chain, for https without a proxy'),
  GATEHOUSE_TLS_KEY: z.string().min(1).optional().describe('PEM file: its private key'),
  GATEHOUSE_TRUSTED_PROXIES: z
    .string()
    .transform((list) => list.split(',').map((text) => text.trim()))
    .refine(
      (list) => list.every(isAddressRange),
      'must be addresses or ranges, like 10.0.0.0/8, in a comma list, and not everybody',
    )
    .optional()
    .describe('Addresses of the proxies in front, whose `X-Forwarded-*` headers count'),
  GATEHOUSE_MTLS_CA: z
    .string()
    .min(1)
    .optional()
    .describe('PEM file: the authorities whose client certificates are trusted (`tls_client_auth`)'),
  GATEHOUSE_MTLS_PORT: z
    .union([z.literal('off'), wholeNumber(1, 65_535, MTLS_PORT)], MTLS_PORT)
    .optional()
    .describe(
      'Port for clients with certificates, so that no browser is asked for one: it asks, `PORT` does not. Unset, `PORT` asks; `off`: none does',
    ),
  GATEHOUSE_MTLS_ORIGIN: z
    .string()
    .refine((text) => isOrigin(text) && text.startsWith('https:'), 'must be an origin: https://…, without path')
    .optional()
    .describe(
      "Address clients know `GATEHOUSE_MTLS_PORT` by, where it is not the issuer's host with that port (behind a proxy)",
    ),
  GATEHOUSE_CLIENT_CERT_HEADER: z
    .string()
    .refine((text) => certificateHeader(text) !== undefined, {
      message: 'must be rfc9440, xfcc, pem:Header-Name or base64:Header-Name',
    })
    .transform((text) => certificateHeader(text))
    .optional()
    .describe(
      'Form, and name, of the header in which the trusted proxies hand on client certificates: `rfc9440` (`Client-Cert`), `xfcc` (Envoy), `pem:Header-Name` (escaped PEM: nginx, AWS), `base64:Header-Name` (DER: HAProxy, Traefik, Caddy)',
    ),
  GATEHOUSE_METRICS_PORT: port.optional().describe('Port for Prometheus metrics; off when unset'),
  GATEHOUSE_PASSWORD_MIN: wholeNumber(1, 200).default(8).describe('Shortest password a new user may have'),
  GATEHOUSE_WORKERS: z
    .union([z.literal('auto'), wholeNumber(1, 256, WORKERS)], WORKERS)
    .default(1)
    .describe('Processes of `serve`: a number, or `auto` for one per core'),
  GATEHOUSE_DEMO_DATA: z
    .enum(['auto', 'on', 'off'])
    .default('auto')
    .describe(
      'Demo data of `dev`: `auto` creates it only when listening on loopback; `on` says that you keep the port to this machine yourself',
    ),
  GATEHOUSE_BRAND_NAME: z.string().min(1).max(60).default('Gatehouse').describe('Name on the pages'),
  GATEHOUSE_BRAND_LOGO: z.string().min(1).optional().describe('Image file (SVG, PNG, WebP or JPEG) for the pages'),
  GATEHOUSE_BRAND_COLOR: z
    .string()
    .regex(/^#[0-9a-fA-F]{6}$/, 'must be a colour like #17594a')
    .optional()
    .describe('Accent colour of the pages'),
  GATEHOUSE_SESSION_MANAGEMENT: onOff
    .optional()
    .describe(
      'OpenID Connect Session Management: one page that may be framed and one cookie that scripts may read; unset, the profile says: on, but off under FAPI 2.0',
    ),
  GATEHOUSE_DPOP_NONCE: onOff
    .default(false)
    .describe('Whether each DPoP proof must carry a nonce of ours; costs clients one more request now and then'),
  GATEHOUSE_ALLOW_LOOPBACK_FETCH: onOff
    .default(false)
    .describe('Tests only: `on` lets what is fetched from and sent to clients go to this machine'),
  LOG_LEVEL: z
    .enum(['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent'])
    .default('info')
    .describe('Level of the log'),
} as const;

/** What Kubernetes and compose tell every container about a service that is called gatehouse. */
const ORCHESTRATORS = /^GATEHOUSE_(SERVICE_HOST|SERVICE_PORT|PORT|ENV|NAME)(_|$)/;

/** A header in which a proxy hands on the certificate of its client (src/http/client-certificate.ts). */
export interface CertificateHeader {
  readonly form: 'rfc9440' | 'xfcc' | 'pem' | 'base64';
  /** In lower case. */
  readonly name: string;
}

/** How client certificates get here. */
export interface MutualTls {
  /** Whether our own TLS asks for them. */
  readonly asks: boolean;
  /** PEM certificates of the authorities that are trusted. */
  readonly authorities: readonly string[];
  /** The door for clients with certificates, and the address they know it by; where there is none, `port` asks for them. */
  readonly door: { readonly port: number; readonly origin: string } | undefined;
  readonly header: CertificateHeader | undefined;
}

export interface Config {
  readonly mode: Mode;
  readonly port: number;
  readonly host: string;
  readonly issuer: string;
  readonly poolMax: number;
  readonly prepared: boolean;
  readonly dataFolder: string;
  readonly profile: Profile;
  readonly tls: { readonly cert: string; readonly key: string } | undefined;
  /** `undefined` where no client certificate can get here. */
  readonly mutualTls: MutualTls | undefined;
  readonly trustedProxies: readonly string[];
  readonly metricsPort: number | undefined;
  readonly passwordMin: number;
  readonly workers: number;
  readonly demoData: boolean;
  readonly brand: { readonly name: string; readonly logoFile: string | undefined; readonly theme: string };
  readonly sessionManagement: boolean;
  /** Whether DPoP proofs must carry a nonce. */
  readonly dpopNonce: boolean;
  /** Tests only: requests to clients may go to this machine. */
  readonly allowLoopbackFetch: boolean;
  readonly logLevel: string;
}

export interface Secrets {
  readonly databaseUrl: string;
  readonly databaseDirectUrl: string;
  readonly cookieKeys: readonly Buffer[];
  readonly keyEncryptionKeys: readonly Buffer[];
}

const schema = z.object(environment);
export type Environment = z.infer<typeof schema>;

/**
 * Reads the environment's variables.
 * @throws ConfigurationError naming the ones that are wrong
 */
export function readEnvironment(env: Readonly<Record<string, string | undefined>>): Environment {
  const known = new Set(Object.keys(environment));
  for (const name of Object.keys(env)) {
    if (!name.startsWith('GATEHOUSE_') || known.has(name) || ORCHESTRATORS.test(name)) continue;
    // A misspelt variable would be a setting that silently is not set.
    throw new ConfigurationError(`${name} is not a variable of this version.`);
  }
  // An empty variable is an unset one: that is how compose files and shells pass on what is not there.
  const given = Object.fromEntries(
    Object.keys(environment).map((name) => [name, env[name] === '' ? undefined : env[name]]),
  );
  const parsed = schema.safeParse(given, { error: inOurVoice });
  if (!parsed.success) {
    const told = new Map(parsed.error.issues.map(({ path, message }) => [path[0], message]));
    throw new ConfigurationError([...told].map(([name, message]) => `${String(name)}: ${message}`).join('; '));
  }
  return parsed.data;
}

/** Our issuer, for commands: the configured one, or that of `dev`. */
export function issuerOf({ GATEHOUSE_ISSUER: issuer, GATEHOUSE_TLS_CERT: cert, PORT: port }: Environment): string {
  return issuer ?? `${cert === undefined ? 'http' : 'https'}://localhost:${port}`;
}

/**
 * The configuration of a server, checked for its mode.
 * @param defaults what `dev` brings itself: its database and the keys of its data folder
 * @throws ConfigurationError
 */
export function readConfig(
  mode: Mode,
  variables: Environment,
  defaults: Partial<Secrets> = {},
): { config: Config; secrets: Secrets } {
  const { GATEHOUSE_TLS_CERT: cert, GATEHOUSE_TLS_KEY: key } = variables;
  if ((cert === undefined) !== (key === undefined)) {
    throw new ConfigurationError('GATEHOUSE_TLS_CERT and GATEHOUSE_TLS_KEY go together: set both or none.');
  }
  const tls = cert !== undefined && key !== undefined ? { cert, key } : undefined;
  const host = variables.HOST ?? (mode === 'dev' ? 'localhost' : '0.0.0.0');
  const { issuer, databaseUrl, cookieKeys, keyEncryptionKeys } = required(mode, {
    issuer: ['GATEHOUSE_ISSUER', mode === 'dev' ? issuerOf(variables) : variables.GATEHOUSE_ISSUER],
    databaseUrl: ['DATABASE_URL', variables.DATABASE_URL ?? defaults.databaseUrl],
    cookieKeys: ['GATEHOUSE_COOKIE_KEY', variables.GATEHOUSE_COOKIE_KEY ?? defaults.cookieKeys],
    keyEncryptionKeys: [
      'GATEHOUSE_KEY_ENCRYPTION_KEY',
      variables.GATEHOUSE_KEY_ENCRYPTION_KEY ?? defaults.keyEncryptionKeys,
    ],
  });
  const trustedProxies = variables.GATEHOUSE_TRUSTED_PROXIES ?? [];
  if (mode === 'serve') checkServe(issuer, tls !== undefined || trustedProxies.length > 0);
  if (tls) checkTls(tls);
  const mutualTls = readMutualTls(variables, tls !== undefined, issuer);
  const { GATEHOUSE_WORKERS: workers } = variables;
  const profile = profiles.find(({ name }) => name === variables.GATEHOUSE_PROFILE) ?? oauth21;
  const { GATEHOUSE_SESSION_MANAGEMENT: sessionManagement = profile.browserClients } = variables;
  if (sessionManagement && !profile.browserClients) {
    throw new ConfigurationError(
      `GATEHOUSE_SESSION_MANAGEMENT: is for scripts of clients, which ${profile.name} does not serve (FAPI 2.0 SP 5.2.3-3): unset it.`,
    );
  }
  return {
    config: {
      mode,
      port: variables.PORT,
      host,
      issuer,
      poolMax: variables.DATABASE_POOL_MAX,
      prepared: variables.GATEHOUSE_PREPARED,
      dataFolder: variables.GATEHOUSE_DATA,
      profile,
      tls,
      mutualTls,
      trustedProxies,
      metricsPort: variables.GATEHOUSE_METRICS_PORT,
      passwordMin: variables.GATEHOUSE_PASSWORD_MIN,
      workers: mode === 'dev' ? 1 : workers === 'auto' ? availableParallelism() : workers,
      demoData: mode === 'dev' && wantsDemoData(variables.GATEHOUSE_DEMO_DATA, host, issuer),
      brand: {
        name: variables.GATEHOUSE_BRAND_NAME,
        logoFile: variables.GATEHOUSE_BRAND_LOGO,
        theme: variables.GATEHOUSE_BRAND_COLOR === undefined ? '' : themeStylesheet(variables.GATEHOUSE_BRAND_COLOR),
      },
      sessionManagement,
      dpopNonce: variables.GATEHOUSE_DPOP_NONCE,
      allowLoopbackFetch: variables.GATEHOUSE_ALLOW_LOOPBACK_FETCH,
      logLevel: variables.LOG_LEVEL,
    },
    secrets: {
      databaseUrl,
      databaseDirectUrl: variables.DATABASE_DIRECT_URL ?? databaseUrl,
      cookieKeys,
      keyEncryptionKeys,
    },
  };
}

type Required<Values> = { [Name in keyof Values]: readonly [variable: string, value: Values[Name] | undefined] };

/** The values, all there; whoever lacks several is told of all at once. */
function required<Values extends object>(mode: Mode, given: Required<Values>): Values {
  const pairs = Object.entries<readonly [string, unknown]>(given);
  const missing = pairs.filter(([, [, value]]) => value === undefined).map(([, [variable]]) => variable);
  if (missing.length > 0)
    throw new ConfigurationError(`\`gatehouse ${mode}\` needs ${missing.join(', ')}: set and start again.`);
  return Object.fromEntries(pairs.map(([name, [, value]]) => [name, value])) as Values;
}

/** A file that is not there or not what it should be is told now, by the variable that names it. */
function checkTls({ cert, key }: { cert: string; key: string }): void {
  const pair = { cert: readNamed('GATEHOUSE_TLS_CERT', cert), key: readNamed('GATEHOUSE_TLS_KEY', key) };
  for (const part of ['cert', 'key'] as const) {
    try {
      createSecureContext({ [part]: pair[part] });
    } catch {
      throw new ConfigurationError(`GATEHOUSE_TLS_${part.toUpperCase()}: ${part === 'cert' ? cert : key} is not PEM.`);
    }
  }
  try {
    createSecureContext(pair);
  } catch {
    throw new ConfigurationError('GATEHOUSE_TLS_KEY: is not the key of the certificate in GATEHOUSE_TLS_CERT.');
  }
}

/** Which client certificates get to a server: `self-signed` where there are no authorities that those of others could be of. */
export type ClientCertificates = 'none' | 'self-signed' | 'all';

/** Of the variables alone: files are not read. */
export function clientCertificates(variables: Environment): ClientCertificates {
  const asks = variables.GATEHOUSE_TLS_CERT !== undefined && variables.GATEHOUSE_MTLS_PORT !== 'off';
  if (!asks && !variables.GATEHOUSE_CLIENT_CERT_HEADER) return 'none';
  return variables.GATEHOUSE_MTLS_CA === undefined ? 'self-signed' : 'all';
}

/** @throws ConfigurationError where a setting could not do what it says */
function readMutualTls(variables: Environment, tls: boolean, issuer: string): MutualTls | undefined {
  const {
    GATEHOUSE_CLIENT_CERT_HEADER: header,
    GATEHOUSE_MTLS_CA: ca,
    GATEHOUSE_MTLS_ORIGIN: origin,
    GATEHOUSE_MTLS_PORT: port,
  } = variables;
  const refuse = (why: string) => {
    throw new ConfigurationError(why);
  };
  if (header && !variables.GATEHOUSE_TRUSTED_PROXIES)
    refuse('GATEHOUSE_CLIENT_CERT_HEADER: counts from GATEHOUSE_TRUSTED_PROXIES only: set that too.');
  const own = typeof port === 'number';
  if (origin !== undefined && !own)
    refuse('GATEHOUSE_MTLS_ORIGIN: is the address of GATEHOUSE_MTLS_PORT: set that too.');
  if (port === variables.PORT) refuse('GATEHOUSE_MTLS_PORT: must be another port than PORT.');
  const asks = tls && port !== 'off';
  if (!asks && !header) {
    for (const [name, value] of Object.entries({ GATEHOUSE_MTLS_CA: ca, GATEHOUSE_MTLS_PORT: own || undefined })) {
      if (value !== undefined)
        refuse(`${name}: client certificates need GATEHOUSE_TLS_CERT, or GATEHOUSE_CLIENT_CERT_HEADER.`);
    }
    return undefined;
  }
  if (own && !tls && origin === undefined)
    refuse('GATEHOUSE_MTLS_ORIGIN: is required with a proxy in front of GATEHOUSE_MTLS_PORT.');
  const authorities = ca === undefined ? [] : readAuthorities(ca);
  const alias = own ? new URL(`https://${new URL(issuer).hostname}:${port}`).origin : '';
  return { asks, authorities, header, door: own ? { port, origin: origin ?? alias } : undefined };
}

function readAuthorities(file: string): string[] {
  const pem = readNamed('GATEHOUSE_MTLS_CA', file).toString();
  const found = pem.match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g) ?? [];
  const areAuthorities = found.every((one) => {
    try {
      return new X509Certificate(one).ca;
    } catch {
      return false;
    }
  });
  if (found.length === 0 || !areAuthorities)
    throw new ConfigurationError(`GATEHOUSE_MTLS_CA: ${file} must hold PEM certificates of authorities, nothing else.`);
  return found;
}

function readNamed(variable: string, file: string): Buffer {
  try {
    return readFileSync(file);
  } catch (error) {
    throw new ConfigurationError(`${variable}: ${file} cannot be read (${(error as NodeJS.ErrnoException).code}).`);
  }
}

/** FAPI 2.0 SP §5.2.1, OAuth 2.1 §1.5: production is https, by our own TLS or a proxy we know. */
function checkServe(issuer: string, https: boolean): void {
  if (!issuer.startsWith('https:'))
    throw new ConfigurationError(
      'GATEHOUSE_ISSUER: `gatehouse serve` needs an https issuer (OAuth 2.1 1.5, FAPI 2.0 SP 5.2.1-1).',
    );
  if (!https) {
    throw new ConfigurationError(
      'GATEHOUSE_TLS_CERT: `gatehouse serve` needs https: set GATEHOUSE_TLS_CERT and GATEHOUSE_TLS_KEY, or GATEHOUSE_TRUSTED_PROXIES to the proxy that does TLS (OAuth 2.1 1.5, FAPI 2.0 SP 5.2.1-1).',
    );
  }
}

/** Users with known passwords exist only where nobody else can reach them. */
function wantsDemoData(wish: 'auto' | 'on' | 'off', host: string, issuer: string): boolean {
  if (wish === 'off' || !isLoopback(new URL(issuer))) return false;
  return wish === 'on' || ['localhost', '127.0.0.1', '::1'].includes(host);
}
