/** Certificates that nobody trusts, made by `openssl`. */
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';

/**
 * Makes a self-signed certificate for localhost and 127.0.0.1.
 * @param path where to put it: `path`.crt and `path`.key
 */
export async function makeCertificate(path: string): Promise<{ cert: string; key: string }> {
  const files = { cert: `${path}.crt`, key: `${path}.key` };
  const subject = ['-subj', '/CN=localhost', '-addext', 'subjectAltName=DNS:localhost,IP:127.0.0.1'];
  const key = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes'];
  await promisify(execFile)('openssl', [
    'req',
    '-x509',
    ...key,
    '-days',
    '2',
    ...subject,
    '-keyout',
    files.key,
    '-out',
    files.cert,
  ]);
  return files;
}
