"""The certificates of a control plane, and kubeconfigs for its users, made with openssl."""

import base64
import json
import subprocess
import urllib.parse

# Every extension is given on the command line, so nothing may come from the machine's openssl.cnf.
CONFIGURATION = "[req]\ndistinguished_name = subject\nstring_mask = utf8only\n[subject]\n"

KUBECONFIG = """\
apiVersion: v1
kind: Config
clusters:
- name: test
  cluster:
    server: {server}
    certificate-authority-data: {ca}
users:
- name: {user}
  user:
    client-certificate-data: {certificate}
    client-key-data: {key}
contexts:
- name: test
  context:
    cluster: test
    user: {user}
current-context: test
"""


class CertificateError(Exception):
    """openssl failed; the text says what to do about it."""


class Certificates:
    """A certificate authority in a folder, and what it has signed."""

    def __init__(self, folder):
        self.folder = folder
        self.ca = folder / "ca.crt"
        self.service_account_key = folder / "service-account.key"
        self.service_account_public_key = folder / "service-account.pub"

    def create(self, addresses):
        """Makes the authority, the servers' certificate for `addresses`, and the token keys."""
        self.folder.mkdir(mode=0o700)
        (self.folder / "openssl.cnf").write_text(CONFIGURATION)
        self._sign(
            "ca",
            ["-subj", "/CN=ipwarden test CA"],
            "basicConstraints=critical,CA:TRUE",
            "keyUsage=critical,keyCertSign,cRLSign",
        )
        names = [f"IP:{address}" for address in dict.fromkeys(addresses)]
        names += ["DNS:localhost", "DNS:kubernetes", "DNS:kubernetes.default.svc"]
        self._sign(
            "server",
            [*self._by_ca(), "-subj", "/CN=kube-apiserver"],
            "basicConstraints=critical,CA:FALSE",
            "keyUsage=critical,digitalSignature",
            # etcd's certificate serves as a client's, too.
            "extendedKeyUsage=serverAuth,clientAuth",
            f"subjectAltName={','.join(names)}",
        )
        key, public = self.service_account_key, self.service_account_public_key
        _openssl("genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", key)
        _openssl("pkey", "-in", key, "-pubout", "-out", public)

    def pair(self, name):
        """The paths of a certificate and its key."""
        return self.folder / f"{name}.crt", self.folder / f"{name}.key"

    def user(self, name, groups=()):
        """The paths of a client certificate and its key for a user, made on first use."""
        if not name:
            raise ValueError("a user needs a name")
        pair = self.pair(f"user-{urllib.parse.quote(name, safe='')}")
        if not pair[0].exists():
            fields = [f"/O={_escape(group)}" for group in groups] + [f"/CN={_escape(name)}"]
            self._sign(
                pair[0].stem,
                [*self._by_ca(), "-subj", "".join(fields)],
                "basicConstraints=critical,CA:FALSE",
                "keyUsage=critical,digitalSignature",
                "extendedKeyUsage=clientAuth",
            )
        return pair

    def kubeconfig(self, path, server, name, groups=()):
        """Writes a kubeconfig that holds the user's certificate and key themselves."""
        certificate, key = self.user(name, groups)
        text = KUBECONFIG.format(
            server=server,
            user=json.dumps(name),
            ca=_base64(self.ca),
            certificate=_base64(certificate),
            key=_base64(key),
        )
        path.write_text(text)
        path.chmod(0o600)
        return path

    def _by_ca(self):
        return ["-CA", self.ca, "-CAkey", self.folder / "ca.key"]

    def _sign(self, name, arguments, *extensions):
        certificate, key = self.pair(name)
        for extension in extensions:
            arguments = [*arguments, "-addext", extension]
        # A certificate counts as made once it is there, so it appears last and whole.
        unfinished = certificate.with_suffix(".unfinished")
        _openssl(
            "req", "-x509", "-config", self.folder / "openssl.cnf", "-sha256", "-days", "3650",
            "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
            "-keyout", key, "-out", unfinished, *arguments,
        )
        unfinished.rename(certificate)


def _openssl(*arguments):
    try:
        done = subprocess.run(["openssl", *arguments], capture_output=True, text=True, check=False)
    except FileNotFoundError:
        raise CertificateError("openssl is not on PATH: install the package openssl") from None
    if done.returncode != 0:
        raise CertificateError(
            f"openssl {arguments[0]} failed (it must be version 3 or newer):\n{done.stderr.strip()}"
        )


def _escape(text):
    """Text as one value of openssl's -subj, where / and + part the fields."""
    return "".join(f"\\{letter}" if letter in "/+\\" else letter for letter in text)


def _base64(path):
    return base64.b64encode(path.read_bytes()).decode()
