/** Certificates that nobody trusts, and authorities that sign some, made by `openssl`. */
import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { promisify } from 'node:util';

const run = promisify(execFile);

/** PEM files. */
export interface CertificateFiles {
  readonly cert: string;
  readonly key: string;
}

export interface CertificateOptions {
  /** As `openssl req -subj` takes it. */
  readonly subject?: string;
  /** Subject alternative names as `openssl` takes them, e.g. `DNS:app.example`; `@name` with that section of its configuration behind it. */
  readonly names?: string;
  /** Of validity from now on; fewer than none is over. */
  readonly days?: number;
  /** Extended key usage. */
  readonly usage?: string;
  /** An elliptic curve's when left out; self-signed ones only. */
  readonly keyType?: 'rsa';
}

export interface TestAuthority extends CertificateFiles {
  /** @param path where to put it: `path`.crt and `path`.key */
  issue(path: string, options?: CertificateOptions): Promise<CertificateFiles>;
}

const NEW_KEY = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes'];
const APP = '/C=DE/O=Example/CN=app';

function filesAt(path: string): CertificateFiles {
  return { cert: `${path}.crt`, key: `${path}.key` };
}

/**
 * Makes a self-signed certificate for localhost and 127.0.0.1.
 * @param path where to put it: `path`.crt and `path`.key
 */
export function makeCertificate(path: string): Promise<CertificateFiles> {
  return makeSelfSigned(path, { subject: '/CN=localhost', names: 'DNS:localhost,IP:127.0.0.1' });
}

/** @param path where to put it: `path`.crt and `path`.key */
export async function makeSelfSigned(path: string, options: CertificateOptions = {}): Promise<CertificateFiles> {
  const files = filesAt(path);
  const names = options.names === undefined ? [] : ['-addext', `subjectAltName=${options.names}`];
  const validity = ['-days', String(options.days ?? 2)];
  const subject = ['-utf8', '-subj', options.subject ?? APP];
  const newKey = options.keyType === 'rsa' ? ['-newkey', 'rsa:2048', '-nodes'] : NEW_KEY;
  await run('openssl', [
    'req',
    '-x509',
    ...newKey,
    ...validity,
    ...subject,
    ...names,
    '-keyout',
    files.key,
    '-out',
    files.cert,
  ]);
  return files;
}

/** @param path where to put its own certificate: `path`.crt and `path`.key */
export async function makeAuthority(path: string, subject = '/CN=Test authority'): Promise<TestAuthority> {
  const own = filesAt(path);
  const may = ['-addext', 'keyUsage=critical,keyCertSign'];
  await run('openssl', [
    'req',
    '-x509',
    ...NEW_KEY,
    '-days',
    '20',
    '-subj',
    subject,
    ...may,
    '-keyout',
    own.key,
    '-out',
    own.cert,
  ]);
  return {
    ...own,
    async issue(at, { subject = APP, names, days = 2, usage = 'clientAuth' } = {}) {
      const files = filesAt(at);
      const request = `${at}.csr`;
      const extensions = `${at}.cnf`;
      await writeFile(
        extensions,
        [`extendedKeyUsage=${usage}`, ...(names === undefined ? [] : [`subjectAltName=${names}`])].join('\n'),
      );
      await run('openssl', ['req', ...NEW_KEY, '-utf8', '-subj', subject, '-keyout', files.key, '-out', request]);
      const signedBy = ['-CA', own.cert, '-CAkey', own.key, '-set_serial', `0x0${randomBytes(8).toString('hex')}`];
      const rest = ['-days', String(days), '-extfile', extensions, '-out', files.cert];
      await run('openssl', ['x509', '-req', '-in', request, ...signedBy, ...rest]);
      return files;
    },
  };
}
