# Everything that makes a relay of a Debian machine, as files. Templates hold nothing but names in
# braces: whatever can replace those can render them (a test sees to that).
locals {
  tcp_ports = [25, 80, 443, 465, 587, 993, 995, 4190]

  relay4 = cidrhost(var.tunnel_ipv4, 1)
  box4   = cidrhost(var.tunnel_ipv4, 2)
  relay6 = cidrhost(var.tunnel_ipv6, 1)
  box6   = cidrhost(var.tunnel_ipv6, 2)

  copies = length(var.zones) > 0
  aws    = var.region != null

  values = {
    relay4          = local.relay4
    relay6          = local.relay6
    box4            = local.box4
    box6            = local.box6
    tunnel4         = var.tunnel_ipv4
    tunnel6         = var.tunnel_ipv6
    port            = var.wireguard_port
    mtu             = var.tunnel_mtu
    box_key         = var.box_public_key
    tcp_ports       = join(", ", local.tcp_ports)
    public4         = length(var.public_ipv4) > 0 ? "elements = { ${join(", ", var.public_ipv4)} }" : ""
    second4         = length(var.second_ipv4) > 0 ? "elements = { ${join(", ", var.second_ipv4)} }" : ""
    second6         = length(var.second_ipv6) > 0 ? "elements = { ${join(", ", var.second_ipv6)} }" : ""
    dns4            = local.copies ? local.relay4 : local.box4
    dns6            = local.copies ? local.relay6 : local.box6
    ssh             = var.ssh_port == null ? "# SSH is closed." : "tcp dport ${var.ssh_port} accept"
    ssh_port        = var.ssh_port == null ? "" : tostring(var.ssh_port)
    region          = local.aws ? var.region : ""
    key_parameter   = local.aws ? var.key_parameter : ""
    tsig_parameter  = local.aws && local.copies ? var.tsig_parameter : ""
    zones           = join("\n", concat(["zone:"], [for zone in var.zones : "  - domain: ${zone}"]))
    zone_names      = join(" ", var.zones)
    reboot_time     = var.reboot_time
    session_manager = tostring(var.session_manager)
  }

  units   = "/etc/systemd/system"
  scripts = "/usr/local/lib/roost"
  # Path on the relay, file here, mode.
  sources = concat(
    [
      ["/etc/roost/relay.env", "relay.env", "0644"],
      ["/etc/roost/relay.nft", "relay.nft", "0644"],
      ["/etc/wireguard/roost0.conf", "roost0.conf", "0600"],
      ["/etc/sysctl.d/90-roost.conf", "sysctl.conf", "0644"],
      ["/etc/modules-load.d/roost.conf", "modules.conf", "0644"],
      ["/etc/apt/apt.conf.d/52roost", "52roost", "0644"],
      ["${local.units}/roost-firewall.service", "units/roost-firewall.service", "0644"],
      ["${local.units}/roost-key.service", "units/roost-key.service", "0644"],
      ["${local.units}/wg-quick@roost0.service.d/roost.conf", "units/wg-quick.conf", "0644"],
      ["${local.units}/roost-health.socket", "units/roost-health.socket", "0644"],
      ["${local.units}/roost-health@.service", "units/roost-health@.service", "0644"],
      ["${local.scripts}/key", "key", "0755"],
      ["${local.scripts}/health", "health", "0755"],
      ["${local.scripts}/setup", "setup", "0755"],
    ],
    local.copies ? [
      ["/etc/knot/knot.conf", "knot.conf", "0644"],
      ["${local.units}/knot.service.d/roost.conf", "units/knot.conf", "0644"],
      ["${local.units}/roost-dns-watch.service", "units/roost-dns-watch.service", "0644"],
      ["${local.scripts}/dns-watch", "dns-watch", "0755"],
    ] : [],
  )
  scripts_as_they_are = ["key", "health", "setup", "dns-watch"]
  # Comments, empty lines and tabs in front stay here: EC2 takes 16 KB of user data.
  comment = "/(?m)^[ \t]*((#([^!].*)?|//.*))?\n/"
  tabs    = "/(?m)^\t+/"
  files = [
    for source in local.sources : {
      path        = source[0]
      permissions = source[2]
      content = replace(replace(
        contains(local.scripts_as_they_are, source[1])
        ? file("${path.module}/files/${source[1]}")
        : templatefile("${path.module}/files/${source[1]}", local.values),
        local.comment, ""), local.tabs, ""
      )
    }
  ]

  # Written by hand, as yamlencode's quotes and indents take a kilobyte; a test reads it back. 0644 is what
  # cloud-init takes where nothing is said.
  user_data = join("", concat(
    ["#cloud-config\n# Roost relay. The reasons are in terraform/relay/modules/userdata/files.\n"],
    ["disable_root: true\nssh_pwauth: false\nruncmd: [[${local.scripts}/setup]]\nwrite_files:\n"],
    [
      for file in local.files :
      "-\n path: ${file.path}\n${file.permissions == "0644" ? "" : " permissions: '${file.permissions}'\n"} content: |\n${replace(file.content, "/(?m)^(.)/", "  $1")}"
    ],
  ))

  bytes = length(local.user_data)

  script = join("\n", concat(
    [
      "#!/bin/sh",
      "# Makes a Roost relay of this Debian machine. Run it as root; it may be run again at any time.",
      "set -eu",
      "[ \"$(id -u)\" = 0 ] || { echo 'error: this needs root' >&2; exit 1; }",
      "put() { mkdir -p \"$(dirname \"$1\")\"; cat > \"$1\"; chmod \"$2\" \"$1\"; }",
    ],
    [for file in local.files : "put ${file.path} ${file.permissions} <<'ROOST-END'\n${file.content}ROOST-END"],
    ["exec ${local.scripts}/setup", ""],
  ))
}
