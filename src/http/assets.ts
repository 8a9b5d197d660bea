/** The few files pages need, held in memory and named by their digest, so that browsers may keep them for ever. */
import { readFile } from 'node:fs/promises';
import { extname } from 'node:path';
import type { FastifyInstance } from 'fastify';
import { type Config, ConfigurationError } from '../config.ts';
import type { Shell } from '../protocol/page.ts';
import { sha256 } from '../protocol/secrets.ts';

const VIEWS = new URL('../../views/', import.meta.url);

const IMAGE_TYPES: Readonly<Record<string, string>> = {
  '.svg': 'image/svg+xml',
  '.png': 'image/png',
  '.webp': 'image/webp',
  '.jpg': 'image/jpeg',
  '.jpeg': 'image/jpeg',
};

interface Asset {
  readonly path: string;
  readonly type: string;
  readonly body: Buffer;
}

/** @throws ConfigurationError when the brand's logo cannot be read */
export async function loadAssets(
  brand: Config['brand'],
): Promise<{ assets: Asset[]; shell: Omit<Shell, 'requestId' | 'stateCookie'> }> {
  const stylesheet = asset('gatehouse.css', 'text/css; charset=utf-8', await readFile(new URL('gatehouse.css', VIEWS)));
  const theme = asset('theme.css', 'text/css; charset=utf-8', Buffer.from(brand.theme));
  const favicon = asset('favicon.svg', 'image/svg+xml', await readFile(new URL('favicon.svg', VIEWS)));
  const logo = brand.logoFile === undefined ? undefined : await loadLogo(brand.logoFile);
  return {
    assets: [stylesheet, theme, favicon, ...(logo ? [logo] : [])],
    shell: {
      brand: { name: brand.name, ...(logo && { logoUrl: logo.path }) },
      stylesheetUrl: stylesheet.path,
      themeUrl: theme.path,
      faviconUrl: favicon.path,
    },
  };
}

async function loadLogo(file: string): Promise<Asset> {
  const type = IMAGE_TYPES[extname(file).toLowerCase()];
  if (type === undefined) throw new ConfigurationError('GATEHOUSE_BRAND_LOGO: must be an SVG, PNG, WebP or JPEG file.');
  const body = await readFile(file).catch(() => {
    throw new ConfigurationError('GATEHOUSE_BRAND_LOGO: the file cannot be read.');
  });
  return asset(`logo${extname(file).toLowerCase()}`, type, body);
}

function asset(name: string, type: string, body: Buffer): Asset {
  return { path: `/assets/${sha256(body).toString('hex').slice(0, 12)}/${name}`, type, body };
}

export function serveAssets(app: FastifyInstance, assets: readonly Asset[]): void {
  for (const { path, type, body } of assets) {
    app.get(path, { exposeHeadRoute: true }, (_request, reply) =>
      reply
        .header('cache-control', 'public, max-age=31536000, immutable')
        // An SVG opened by itself is a document: it gets no scripts either.
        .header('content-security-policy', "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'")
        .type(type)
        .send(body),
    );
  }
}
