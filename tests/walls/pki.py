"""Certificates, made by openssl when the matrix starts, and removed when it ends."""

import base64
import hashlib
import pathlib
import subprocess

NAMES = "DNS:localhost,DNS:origin.test,DNS:*.origin.test,IP:127.0.0.1,IP:::1"

CA_CONFIG = """
[ca]
default_ca = d
[d]
database = {dir}/index.txt
new_certs_dir = {dir}
rand_serial = yes
default_md = sha256
policy = p
unique_subject = no
x509_extensions = e
[p]
commonName = supplied
[e]
basicConstraints = critical,CA:false
extendedKeyUsage = {usage}
{san}
"""


def openssl(*args: str) -> bytes:
    done = subprocess.run(["openssl", *args], capture_output=True)
    if done.returncode:
        raise RuntimeError(f"openssl {' '.join(args)}: {done.stderr.decode(errors='replace')}")
    return done.stdout


class Pki:
    """Two roots, `ca` (trusted) and `other` (not), and what they signed: NAME.pem and NAME.key."""

    def __init__(self, folder: pathlib.Path) -> None:
        self.folder = folder
        folder.mkdir()
        (folder / "index.txt").touch()
        for root in ("ca", "other", "clients"):
            self._key(root)
            openssl(
                *("req", "-x509", "-new", "-key", self.key(root), "-out", self.cert(root)),
                *("-subj", f"/CN=walls {root}", "-days", "30"),
                *("-addext", "basicConstraints=critical,CA:true"),
                *("-addext", "keyUsage=critical,keyCertSign,cRLSign"),
            )
        self._sign("server", "ca", "localhost", san=NAMES)
        self._sign("other-server", "other", "localhost", san=NAMES)
        self._sign("wrong-name", "ca", "elsewhere.test", san="DNS:elsewhere.test")
        self._sign("expired", "ca", "localhost", san=NAMES, dates=("20200101000000Z", "20200201000000Z"))
        self._sign("client", "clients", "good client", usage="clientAuth")
        self._sign("other-client", "other", "client of another root", usage="clientAuth")

    def cert(self, name: str) -> str:
        return str(self.folder / f"{name}.pem")

    def key(self, name: str) -> str:
        return str(self.folder / f"{name}.key")

    def both(self, name: str) -> str:
        """Certificate and key in one file, as haproxy requires."""
        path = self.folder / f"{name}.both.pem"
        path.write_text(pathlib.Path(self.cert(name)).read_text() + pathlib.Path(self.key(name)).read_text())
        return str(path)

    def pin(self, name: str) -> str:
        """What --pin compares: the SHA-256 of the public key, in base64."""
        public = openssl("x509", "-in", self.cert(name), "-pubkey", "-noout")
        lines = public.decode().strip().splitlines()
        der = base64.b64decode("".join(line for line in lines if not line.startswith("-")))
        return base64.b64encode(hashlib.sha256(der).digest()).decode()

    def _key(self, name: str) -> None:
        openssl(
            *("genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", self.key(name)),
        )
        # squid, tinyproxy and others drop root privileges before they read it. Only this run trusts it.
        pathlib.Path(self.key(name)).chmod(0o644)

    def _sign(self, name: str, root: str, cn: str, san: str = "", usage: str = "serverAuth", dates=None) -> None:
        self._key(name)
        config = self.folder / f"{name}.cnf"
        line = f"subjectAltName = {san}" if san else ""
        config.write_text(CA_CONFIG.format(dir=self.folder, usage=usage, san=line))
        request = str(self.folder / f"{name}.csr")
        openssl("req", "-new", "-key", self.key(name), "-subj", f"/CN={cn}", "-out", request)
        when = ("-startdate", dates[0], "-enddate", dates[1]) if dates else ("-days", "30")
        openssl(
            *("ca", "-batch", "-notext", "-config", str(config), "-in", request, "-out", self.cert(name)),
            *("-cert", self.cert(root), "-keyfile", self.key(root), *when),
        )
