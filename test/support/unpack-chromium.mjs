// Unpacks the packaged Chromium into the folder TMPDIR names; a process of its own, since the package changes its environment.
import chromium from '@sparticuz/chromium';

await chromium.executablePath();
