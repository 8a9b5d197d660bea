/**
 * Logos of clients: our own copies, taken when a client is registered. Pages load nothing foreign, and a client does not
 * learn who is looking at its consent page.
 */
import { readFile } from 'node:fs/promises';
import { FetchRefused, guardedFetch } from '../outgoing/guarded-fetch.ts';
import type { ClientLogo } from '../postgres/clients.pg.ts';
import { sha256 } from '../protocol/secrets.ts';
import { OperatorError } from './input.ts';

const MOST = 256 * 1024;

/** @throws OperatorError when the file cannot be read or is no picture */
export async function readLogo(file: string): Promise<ClientLogo> {
  const bytes = await readFile(file).catch(() => {
    throw new OperatorError(`--logo: ${file} cannot be read.`);
  });
  const logo = toLogo(bytes);
  if (!logo) throw new OperatorError('--logo: must be a PNG, JPEG or WebP file of 256 KiB at most.');
  return logo;
}

/**
 * Fetches the picture of `logo_uri`.
 * @returns the logo, or in words why there is none: a client is registered with its initial then
 */
export async function fetchLogo(uri: string, allowLoopback: boolean): Promise<ClientLogo | string> {
  try {
    const bytes = await guardedFetch(uri, {
      timeout: 5000,
      maxBytes: MOST,
      accept: 'image/png, image/webp, image/jpeg',
      allowLoopback,
    });
    return toLogo(bytes) ?? 'it is no PNG, JPEG or WebP';
  } catch (error) {
    if (error instanceof FetchRefused) return error.message;
    throw error;
  }
}

function toLogo(bytes: Buffer): ClientLogo | undefined {
  const mediaType = imageType(bytes);
  if (mediaType === undefined || bytes.length > MOST) return undefined;
  return { mediaType, bytes, digest: sha256(bytes).toString('hex').slice(0, 12) };
}

/** By its first bytes, not its name: what is served with an image type is an image (and no SVG, which could hold scripts). */
function imageType(bytes: Buffer): string | undefined {
  if (bytes.subarray(0, 8).toString('hex') === '89504e470d0a1a0a') return 'image/png';
  if (bytes.subarray(0, 3).toString('hex') === 'ffd8ff') return 'image/jpeg';
  if (bytes.subarray(0, 4).toString() === 'RIFF' && bytes.subarray(8, 12).toString() === 'WEBP') return 'image/webp';
  return undefined;
}
