"Build from settings.ini (nbdev 2.x keeps every setting there)."
from configparser import ConfigParser
from pathlib import Path
import setuptools

cfg = ConfigParser(delimiters=['='], interpolation=None)
cfg.read('settings.ini', encoding='utf-8')
c = cfg['DEFAULT']
lib = c['lib_path']
licenses = {'apache2': 'Apache-2.0', 'mit': 'MIT', 'gpl3': 'GPL-3.0-only', 'bsd3': 'BSD-3-Clause'}
statuses = ['0 - Unspecified', '1 - Planning', '2 - Pre-Alpha', '3 - Alpha', '4 - Beta', '5 - Production/Stable']

setuptools.setup(
    name=c['lib_name'], version=c['version'], description=c['description'], license=licenses[c['license'].lower()],
    author=c['author'], author_email=c['author_email'], url=c['git_url'], keywords=c['keywords'].split(),
    classifiers=[f"Development Status :: {statuses[int(c['status'])]}", f"Intended Audience :: {c['audience']}",
                 'Programming Language :: Python :: 3'],
    long_description=Path('README.md').read_text(encoding='utf-8') if Path('README.md').exists() else '',
    long_description_content_type='text/markdown',
    packages=setuptools.find_namespace_packages(include=[lib, f'{lib}.*']),
    package_data={lib: c.get('package_data', '').split()}, include_package_data=True, zip_safe=False,
    python_requires='>='+c['min_python'],
    install_requires=c.get('requirements', '').split(),
    extras_require={x: c.get(f'{x}_requirements', '').split() for x in ('app', 'dev', 'laion')},
    entry_points={'console_scripts': c.get('console_scripts', '').split(),
                  'nbdev': [f'{lib}={lib}._modidx:d']},
)
