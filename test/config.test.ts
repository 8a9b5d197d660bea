import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { availableParallelism, tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type CertificateHeader, environment, type Mode, readConfig, readEnvironment } from '../src/config.ts';
import { makeAuthority, makeCertificate, type TestAuthority } from './support/certificate.ts';

const KEY = Buffer.alloc(32, 1).toString('base64url');
const SERVE = {
  DATABASE_URL: 'postgres://gatehouse@db.example/gatehouse',
  GATEHOUSE_ISSUER: 'https://id.example',
  GATEHOUSE_COOKIE_KEY: KEY,
  GATEHOUSE_KEY_ENCRYPTION_KEY: KEY,
  GATEHOUSE_TRUSTED_PROXIES: '10.0.0.0/8',
};
const DEV = { databaseUrl: SERVE.DATABASE_URL, cookieKeys: [], keyEncryptionKeys: [] };

function read(mode: Mode, env: Record<string, string | undefined>) {
  return readConfig(mode, readEnvironment(env), mode === 'dev' ? DEV : {});
}

/** The one line that a start with `env` is stopped with. */
function refusal(mode: Mode, env: Record<string, string | undefined>): string {
  try {
    read(mode, env);
  } catch (error) {
    if (error instanceof Error && error.name === 'ConfigurationError') return error.message;
    throw error;
  }
  throw new Error('nothing was refused');
}

describe('a wrong value is refused in one line that names its variable', () => {
  it.each<[string, string, RegExp]>([
    ['PORT', 'http', /a port, 1 to 65535/],
    ['PORT', '0', /a port, 1 to 65535/],
    ['PORT', '65536', /a port, 1 to 65535/],
    ['PORT', '3000.5', /a port, 1 to 65535/],
    ['DATABASE_URL', 'mysql://db', /postgres:\/\//],
    ['DATABASE_URL', 'postgres://[', /postgres:\/\//],
    ['DATABASE_DIRECT_URL', 'db:5432', /postgres:\/\//],
    ['DATABASE_POOL_MAX', '0', /1 to 1000/],
    ['DATABASE_POOL_MAX', 'many', /1 to 1000/],
    ['GATEHOUSE_PREPARED', 'maybe', /must be one of .*off/],
    ['GATEHOUSE_ISSUER', 'id.example', /must be an origin/],
    ['GATEHOUSE_ISSUER', 'https://id.example/', /must be an origin/],
    ['GATEHOUSE_ISSUER', 'https://id.example/tenant', /must be an origin/],
    ['GATEHOUSE_ISSUER', 'https://user@id.example', /must be an origin/],
    ['GATEHOUSE_ISSUER', 'http://id.example', /must be an origin/],
    ['GATEHOUSE_COOKIE_KEY', 'short', /32 random bytes/],
    ['GATEHOUSE_COOKIE_KEY', `${KEY},short`, /32 random bytes/],
    ['GATEHOUSE_KEY_ENCRYPTION_KEY', 'short', /32 random bytes/],
    ['GATEHOUSE_PROFILE', 'oauth1', /must be one of oauth21, /],
    ['GATEHOUSE_TRUSTED_PROXIES', 'everybody', /10\.0\.0\.0\/8/],
    ['GATEHOUSE_TRUSTED_PROXIES', '10.0.0.0/33', /10\.0\.0\.0\/8/],
    ['GATEHOUSE_TRUSTED_PROXIES', '0.0.0.0/0', /10\.0\.0\.0\/8/],
    ['GATEHOUSE_TRUSTED_PROXIES', '::/0', /10\.0\.0\.0\/8/],
    ['GATEHOUSE_TRUSTED_PROXIES', '::/64', /10\.0\.0\.0\/8/],
    ['GATEHOUSE_TRUSTED_PROXIES', '::ffff:0:0/96', /10\.0\.0\.0\/8/],
    ['GATEHOUSE_TRUSTED_PROXIES', 'fe80::1%eth0', /10\.0\.0\.0\/8/],
    ['GATEHOUSE_METRICS_PORT', '-1', /a port/],
    ['GATEHOUSE_PASSWORD_MIN', '0', /1 to 200/],
    ['GATEHOUSE_WORKERS', 'two', /1 to 256, or auto/],
    ['GATEHOUSE_WORKERS', '0', /1 to 256, or auto/],
    ['GATEHOUSE_DEMO_DATA', 'yes', /must be one of auto, on, off/],
    ['GATEHOUSE_BRAND_NAME', 'x'.repeat(61), /60/],
    ['GATEHOUSE_BRAND_COLOR', 'green', /a colour like/],
    ['LOG_LEVEL', 'loud', /must be one of .*info/],
    ['GATEHOUSE_MTLS_CA', '/ca.pem', /need GATEHOUSE_TLS_CERT, or GATEHOUSE_CLIENT_CERT_HEADER/],
    ['GATEHOUSE_MTLS_PORT', '3443', /need GATEHOUSE_TLS_CERT, or GATEHOUSE_CLIENT_CERT_HEADER/],
    ['GATEHOUSE_MTLS_PORT', '3000', /another port than PORT/],
    ['GATEHOUSE_MTLS_PORT', 'on', /a port, 1 to 65535, or off/],
    ['GATEHOUSE_MTLS_ORIGIN', 'http://localhost:3443', /must be an origin: https/],
    ['GATEHOUSE_MTLS_ORIGIN', 'https://mtls.example/', /must be an origin: https/],
    ['GATEHOUSE_MTLS_ORIGIN', 'https://mtls.example', /is the address of GATEHOUSE_MTLS_PORT/],
    ['GATEHOUSE_CLIENT_CERT_HEADER', 'on', /must be rfc9440, xfcc, pem:Header-Name or base64:Header-Name/],
    ['GATEHOUSE_CLIENT_CERT_HEADER', 'pem', /must be rfc9440/],
    ['GATEHOUSE_CLIENT_CERT_HEADER', 'pem:X Cert', /must be rfc9440/],
    ['GATEHOUSE_ISUER', 'https://id.example', /not a variable of this version/],
    ['GATEHOUSE_TLS_CERT', '/cert.pem', /go together/],
    ['GATEHOUSE_TLS_KEY', '/key.pem', /go together/],
  ])('%s=%s', (name, value, reason) => {
    for (const mode of ['dev', 'serve'] as const) {
      const line = refusal(mode, { ...SERVE, [name]: value });
      expect(line).toMatch(reason);
      expect(line).toContain(name);
      expect(line).not.toContain('\n');
    }
  });

  it('names all of several at once', () => {
    expect(refusal('dev', { PORT: 'x', LOG_LEVEL: 'x', GATEHOUSE_COOKIE_KEY: 'x,y' })).toMatch(
      /^PORT: .*; GATEHOUSE_COOKIE_KEY: .*; LOG_LEVEL: [^;]*$/,
    );
  });

  it('never repeats a value that may be a secret', () => {
    const line = refusal('serve', {
      ...SERVE,
      DATABASE_URL: 'mysql://user:pass-word@db',
      GATEHOUSE_COOKIE_KEY: 'c-secret',
      GATEHOUSE_KEY_ENCRYPTION_KEY: 'k-secret',
    });
    expect(line).not.toMatch(/pass-word|-secret/);
  });
});

describe('what contradicts the profile is refused, naming the clause', () => {
  it.each(['fapi2-security', 'fapi2-message-signing'])('%s: scripts of clients in a session frame', (profile) => {
    const env = { ...SERVE, GATEHOUSE_PROFILE: profile };
    const line = refusal('serve', { ...env, GATEHOUSE_SESSION_MANAGEMENT: 'on' });
    expect(line).toMatch(/^GATEHOUSE_SESSION_MANAGEMENT: .*FAPI 2\.0 SP 5\.2\.3-3/);
    for (const wish of [undefined, 'off'])
      expect(read('serve', { ...env, GATEHOUSE_SESSION_MANAGEMENT: wish }).config.sessionManagement).toBe(false);
    expect(read('serve', SERVE).config.sessionManagement).toBe(true);
  });

  it('an http issuer, and no TLS at all, in production', () => {
    const env = { ...SERVE, GATEHOUSE_PROFILE: 'fapi2-security' };
    expect(refusal('serve', { ...env, GATEHOUSE_ISSUER: 'http://localhost:3000' })).toMatch(
      /^GATEHOUSE_ISSUER: .*FAPI 2\.0 SP 5\.2\.1-1/,
    );
    expect(refusal('serve', { ...env, GATEHOUSE_TRUSTED_PROXIES: undefined })).toMatch(
      /^GATEHOUSE_TLS_CERT: .*FAPI 2\.0 SP 5\.2\.1-1/,
    );
  });
});

describe('serve', () => {
  it.each(['DATABASE_URL', 'GATEHOUSE_ISSUER', 'GATEHOUSE_COOKIE_KEY', 'GATEHOUSE_KEY_ENCRYPTION_KEY'])(
    'needs %s, and takes an empty one for none',
    (name) => {
      expect(refusal('serve', { ...SERVE, [name]: undefined })).toBe(
        `\`gatehouse serve\` needs ${name}: set and start again.`,
      );
      expect(refusal('serve', { ...SERVE, [name]: '' })).toContain(name);
    },
  );

  it('names all that is missing at once', () => {
    expect(refusal('serve', {})).toContain(
      'GATEHOUSE_ISSUER, DATABASE_URL, GATEHOUSE_COOKIE_KEY, GATEHOUSE_KEY_ENCRYPTION_KEY',
    );
  });

  it.each(['http://localhost:3000', 'http://127.0.0.1:3000'])('refuses the http issuer %s', (issuer) => {
    expect(refusal('serve', { ...SERVE, GATEHOUSE_ISSUER: issuer })).toContain('GATEHOUSE_ISSUER');
  });

  it('refuses an https issuer without TLS or a proxy that does it', () => {
    const line = refusal('serve', { ...SERVE, GATEHOUSE_TRUSTED_PROXIES: undefined });
    expect(line).toContain('GATEHOUSE_TLS_CERT');
    expect(line).toContain('GATEHOUSE_TRUSTED_PROXIES');
  });

  it('listens everywhere, makes no demo data, runs as many processes as it is told', () => {
    const { config } = read('serve', { ...SERVE, GATEHOUSE_WORKERS: '3', GATEHOUSE_DEMO_DATA: 'on' });
    expect(config).toMatchObject({ host: '0.0.0.0', port: 3000, demoData: false, workers: 3, prepared: true });
    expect(read('serve', { ...SERVE, GATEHOUSE_WORKERS: 'auto' }).config.workers).toBe(availableParallelism());
  });

  it('reads lists of keys, of which the first writes', () => {
    const second = Buffer.alloc(32, 2);
    const { secrets } = read('serve', {
      ...SERVE,
      GATEHOUSE_COOKIE_KEY: `${KEY}, ${second.toString('base64')}`,
    });
    expect(secrets.cookieKeys).toEqual([Buffer.alloc(32, 1), second]);
  });

  it('keeps LISTEN and migrations on DATABASE_URL unless told another way past the pooler', () => {
    expect(read('serve', SERVE).secrets.databaseDirectUrl).toBe(SERVE.DATABASE_URL);
    const direct = 'postgresql://db.example/direct';
    expect(read('serve', { ...SERVE, DATABASE_DIRECT_URL: direct }).secrets.databaseDirectUrl).toBe(direct);
  });
});

describe('dev', () => {
  it('needs nothing', () => {
    const { config } = read('dev', {});
    expect(config).toMatchObject({
      host: 'localhost',
      issuer: 'http://localhost:3000',
      dataFolder: '.gatehouse',
      demoData: true,
      workers: 1,
    });
  });

  it('takes its issuer from PORT', () => {
    expect(read('dev', { PORT: '3456' }).config.issuer).toBe('http://localhost:3456');
  });

  it.each<[Record<string, string>, boolean]>([
    [{ HOST: '127.0.0.1' }, true],
    [{ HOST: '::1' }, true],
    [{ HOST: '0.0.0.0' }, false],
    [{ HOST: '::' }, false],
    [{ HOST: '192.168.1.2' }, false],
    [{ HOST: '0.0.0.0', GATEHOUSE_DEMO_DATA: 'on' }, true],
    [{ GATEHOUSE_DEMO_DATA: 'off' }, false],
    [{ GATEHOUSE_ISSUER: 'https://id.example' }, false],
    [{ GATEHOUSE_ISSUER: 'https://id.example', GATEHOUSE_DEMO_DATA: 'on' }, false],
  ])('makes demo data under %o: %s', (env, made) => {
    expect(read('dev', env).config.demoData).toBe(made);
  });
});

describe('certificate and key', () => {
  let folder: string;
  let one: { cert: string; key: string };
  let other: { cert: string; key: string };
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'gatehouse-config-'));
    one = await makeCertificate(join(folder, 'one'));
    other = await makeCertificate(join(folder, 'other'));
    await writeFile(join(folder, 'text.pem'), 'not PEM');
  });
  afterAll(() => rm(folder, { recursive: true }));

  it('are taken when they belong together, and make the issuer of dev https', () => {
    const { config } = read('dev', { GATEHOUSE_TLS_CERT: one.cert, GATEHOUSE_TLS_KEY: one.key });
    expect(config.tls).toEqual(one);
    expect(config.issuer).toBe('https://localhost:3000');
  });

  it('are refused when one is missing, is not PEM, or belongs to another', () => {
    const told = (cert: string, key: string) =>
      refusal('serve', { ...SERVE, GATEHOUSE_TLS_CERT: cert, GATEHOUSE_TLS_KEY: key });
    const text = join(folder, 'text.pem');
    expect(told('/nowhere/cert.pem', one.key)).toMatch(/^GATEHOUSE_TLS_CERT: .*cannot be read/);
    expect(told(one.cert, '/nowhere/key.pem')).toMatch(/^GATEHOUSE_TLS_KEY: .*cannot be read/);
    expect(told(text, one.key)).toMatch(/^GATEHOUSE_TLS_CERT: .*not PEM/);
    expect(told(one.cert, text)).toMatch(/^GATEHOUSE_TLS_KEY: .*not PEM/);
    expect(told(one.cert, other.key)).toMatch(/^GATEHOUSE_TLS_KEY: is not the key/);
  });
});

describe('client certificates', () => {
  let folder: string;
  let tls: Record<string, string>;
  let authority: TestAuthority;
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'gatehouse-config-'));
    const { cert, key } = await makeCertificate(join(folder, 'server'));
    tls = { GATEHOUSE_TLS_CERT: cert, GATEHOUSE_TLS_KEY: key };
    authority = await makeAuthority(join(folder, 'authority'));
  });
  afterAll(() => rm(folder, { recursive: true }));

  const mutualTls = (env: Record<string, string>) => read('serve', { ...SERVE, ...env }).config.mutualTls;

  it('are asked for by the one port with TLS, and by none without', () => {
    expect(mutualTls({})).toBeUndefined();
    expect(mutualTls(tls)).toEqual({ asks: true, authorities: [], door: undefined, header: undefined });
    expect(mutualTls({ ...tls, GATEHOUSE_MTLS_PORT: 'off' })).toBeUndefined();
  });

  it("have a port, known by the issuer's host unless it is told otherwise", () => {
    const env = { ...tls, GATEHOUSE_MTLS_PORT: '3443' };
    expect(mutualTls(env)?.door).toEqual({ port: 3443, origin: 'https://id.example:3443' });
    expect(mutualTls({ ...tls, GATEHOUSE_MTLS_PORT: '443' })?.door?.origin).toBe('https://id.example');
    expect(mutualTls({ ...env, GATEHOUSE_MTLS_ORIGIN: 'https://mtls.example' })?.door).toEqual({
      port: 3443,
      origin: 'https://mtls.example',
    });
  });

  it.each<[string, CertificateHeader]>([
    ['rfc9440', { form: 'rfc9440', name: 'client-cert' }],
    ['rfc9440:X-Cert', { form: 'rfc9440', name: 'x-cert' }],
    ['xfcc', { form: 'xfcc', name: 'x-forwarded-client-cert' }],
    ['pem:ssl-client-cert', { form: 'pem', name: 'ssl-client-cert' }],
    ['base64:X-SSL-Client-DER', { form: 'base64', name: 'x-ssl-client-der' }],
  ])('come from the proxies as %s', (value, header) => {
    expect(mutualTls({ GATEHOUSE_CLIENT_CERT_HEADER: value })).toEqual({
      asks: false,
      authorities: [],
      door: undefined,
      header,
    });
  });

  it('from proxies are refused without any, and a port behind them without its address', () => {
    const env = { GATEHOUSE_CLIENT_CERT_HEADER: 'rfc9440' };
    expect(refusal('serve', { ...SERVE, ...tls, ...env, GATEHOUSE_TRUSTED_PROXIES: '' })).toMatch(
      /^GATEHOUSE_CLIENT_CERT_HEADER: .*GATEHOUSE_TRUSTED_PROXIES/,
    );
    expect(refusal('serve', { ...SERVE, ...env, GATEHOUSE_MTLS_PORT: '3443' })).toMatch(/^GATEHOUSE_MTLS_ORIGIN: /);
  });

  it('are trusted by the authorities of a file, which holds such only', async () => {
    const both = join(folder, 'both.pem');
    const pem = await readFile(authority.cert, 'utf8');
    const { cert } = await authority.issue(join(folder, 'client'));
    await writeFile(both, `# ours\n${pem}\n${pem}`);
    expect(mutualTls({ ...tls, GATEHOUSE_MTLS_CA: both })?.authorities).toEqual([pem.trim(), pem.trim()]);
    for (const file of ['/nowhere.pem', cert, authority.key])
      expect(refusal('serve', { ...SERVE, ...tls, GATEHOUSE_MTLS_CA: file })).toMatch(/^GATEHOUSE_MTLS_CA: /);
  });
});

it('every variable has words for the table of the README', () => {
  for (const [name, { description }] of Object.entries(environment)) expect(description, name).toMatch(/\w{3}/);
});
