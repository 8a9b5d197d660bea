/** `npm run demo`: all roles at once, against a running Gatehouse. */
import { startArchiveApi } from './archive-api.ts';
import { chainOf, runBatch } from './batch.ts';
import { startPhotosApi } from './photos-api.ts';
import { whenStartedDirectly } from './settings.ts';
import { startStorageApi } from './storage-api.ts';
import { startWebApp } from './web-app.ts';

await whenStartedDirectly(import.meta.url, async (settings) => {
  const servers = [
    await startArchiveApi(settings.archiveApi),
    await startStorageApi(settings.storageApi),
    await startPhotosApi(settings.photosApi),
    await startWebApp(settings.webApp),
  ];
  const { photos, told } = await runBatch(settings.batch);
  const { origin } = settings.webApp;
  console.log(`
  The web app            ${origin}          open this, and sign in as alice with the password wonderland
  The browser-only app   ${origin}/spa      the same photos, fetched by a script in the page
  The photos API         ${settings.photosApi.resource}          JWT access tokens
  The storage API        ${settings.storageApi.resource}          opaque access tokens
  The archive API        ${settings.archiveApi.resource}          JWT access tokens
  The batch job          has just counted ${photos} photos in its own name:
                         ${chainOf(told)}
                         npx gatehouse calls show ${told.at(-1)?.txn}
  Gatehouse              ${settings.issuer}

  Ctrl-C ends them.`);

  const stop = async () => {
    await Promise.all(servers.map((server) => server.close()));
    process.exit(0);
  };
  process.once('SIGINT', stop);
  process.once('SIGTERM', stop);
});
